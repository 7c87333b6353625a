// Attention of floats, exact up to rounding: a block has 32 queries of a head and 32 keys at a time, a thread two
// queries with every eighth key and every eighth number of the result.
#include "attention.h"

KERNEL(attention_f32, Attention, 128, 4) {
    const Attention &attention = arguments;
    // Rows lie apart so far that eight of them begin in different banks.
    const int QUERIES = 32, KEYS = 32, THREADS = 128, DIM = 128, STRIDE = DIM + 4, WEIGHTS = KEYS + 4;
    SHARED(float4, queries, QUERIES * STRIDE / 4);
    // Keys, then values.
    SHARED(float4, tokens, KEYS * STRIDE / 4);
    SHARED(float, weights, QUERIES * WEIGHTS);

    const Place place(attention, QUERIES);
    const uint32_t thread = thread_index(), y = thread / 8, x = thread % 8, dim = attention.dim;
    // Numbers of a head in quadruples, filled up to a multiple of 8.
    const uint32_t quads = (dim + 7) / 8 * 2;
    auto load = [&](const Places<float4> &to, const Heads &heads, uint32_t first, uint32_t count) {
        const float *from = arena + place.of(heads);
        for (uint32_t i = thread; i < 32 * quads; i += THREADS) {
            const uint32_t row = i / quads, at = i % quads;
            to[row * (STRIDE / 4) + at] = of_token(attention, from, heads, first + row, count, at * 4);
        }
    };
    load(queries, attention.q, place.query, attention.queries);

    const float factor = attention.scale * LOG2_E;
    float largest[2] = {-INFINITY, -INFINITY}, total[2] = {0.0f, 0.0f};
    float sums[2][DIM / 8] = {};
    for (uint32_t first = 0; first < attention.keys; first += KEYS) {
        barrier();
        load(tokens, attention.k, first, attention.keys);
        barrier();
        float scores[2][4] = {};
        for (uint32_t at = 0; at < quads; ++at) {
            float4 k[4];
            UNROLL for (int j = 0; j < 4; ++j) k[j] = tokens[(x + j * 8) * (STRIDE / 4) + at];
            UNROLL for (int i = 0; i < 2; ++i) {
                const float4 q = queries[(y + i * 16) * (STRIDE / 4) + at];
                UNROLL for (int j = 0; j < 4; ++j) {
                    float &score = scores[i][j];
                    score = fmaf(q.x, k[j].x, fmaf(q.y, k[j].y, fmaf(q.z, k[j].z, fmaf(q.w, k[j].w, score))));
                }
            }
        }
        UNROLL for (int i = 0; i < 2; ++i) {
            float most = largest[i];
            UNROLL for (int j = 0; j < 4; ++j) {
                const uint32_t key = first + x + j * 8;
                float &score = scores[i][j];
                score = key < attention.keys ? (score + place.bias(attention, arena, key)) * factor : -INFINITY;
                most = fmaxf(most, score);
            }
            // The eight lanes of a query.
            UNROLL for (uint32_t lanes = 4; lanes > 0; lanes /= 2) most = fmaxf(most, shuffle_xor(most, lanes));
            const float shrink = exp2f(largest[i] - most);
            largest[i] = most;
            total[i] *= shrink;
            UNROLL for (int j = 0; j < DIM / 8; ++j) sums[i][j] *= shrink;
            UNROLL for (int j = 0; j < 4; ++j) {
                const float weight = exp2f(scores[i][j] - most);
                total[i] += weight;
                weights[(y + i * 16) * WEIGHTS + x + j * 8] = weight;
            }
        }
        barrier();
        load(tokens, attention.v, first, attention.keys);
        barrier();
        const Places<float> values = tokens.as<float>();
        for (uint32_t key = 0; key < KEYS; ++key) {
            const float of[2] = {weights[y * WEIGHTS + key], weights[(y + 16) * WEIGHTS + key]};
            UNROLL for (uint32_t j = 0; j < DIM / 8; ++j) {
                if (j * 2 >= quads) break;
                const float value = values[key * STRIDE + x + j * 8];
                sums[0][j] = fmaf(of[0], value, sums[0][j]);
                sums[1][j] = fmaf(of[1], value, sums[1][j]);
            }
        }
    }

    UNROLL for (uint32_t i = 0; i < 2; ++i) {
        float sum = total[i];
        UNROLL for (uint32_t lanes = 4; lanes > 0; lanes /= 2) sum += shuffle_xor(sum, lanes);
        const uint32_t query = place.query + y + i * 16;
        if (query >= attention.queries) continue;
        float *to = arena + place.of(attention.out) + query * attention.out.token_stride;
        UNROLL for (uint32_t j = 0; j < DIM / 8; ++j) {
            if (x + j * 8 < dim) write(to + x + j * 8, sums[i][j] / sum);
        }
    }
}
