// Attention by tensor cores, f16 or bf16: a block has 64 queries of a head, a warp 16 of them, and 64 keys at a time.
//
// Queries stay in registers as operands. Keys and values are rounded on their way to shared memory, into the order of
// an instruction's operands: blocks of 16 by 16 numbers, 16 bytes for each lane. Scores are as instructions leave
// them, and so rounded are the left operands of the next: a lane 4 g + t has rows g and g + 8. The softmax goes along:
// what was summed is scaled anew whenever a larger score turns up.
#include "attention.h"

struct AttentionF16 {
    DEVICE_MEMBER static uint32_t pair(float low, float high) { return to_f16(low, high); }
    DEVICE_MEMBER static void multiply(float (&c)[4], const uint4 &a, uint32_t b0, uint32_t b1) {
        multiply_f16(c, a, b0, b1);
    }
};

#ifdef HAS_BF16
struct AttentionBf16 {
    DEVICE_MEMBER static uint32_t pair(float low, float high) { return to_bf16(low, high); }
    DEVICE_MEMBER static void multiply(float (&c)[4], const uint4 &a, uint32_t b0, uint32_t b1) {
        multiply_bf16(c, a, b0, b1);
    }
};
#endif

// Exchanged so that the stores of a warp meet no bank twice.
DEVICE uint32_t swizzled_key(uint32_t lane) { return lane ^ (lane >> 3 & 1); }
DEVICE uint32_t swizzled_value(uint32_t lane) { return lane ^ (lane >> 4 & 1) << 2; }

// Heads of DIM numbers at most, a multiple of 16.
template <class Type, int DIM> DEVICE void attend(const Attention &attention, float *arena) {
    const int QUERIES = 64, KEYS = 64, THREADS = 128, BLOCKS = DIM / 16, OF_TILE = KEYS / 16 * BLOCKS * 32;
    SHARED(uint4, keys, OF_TILE);
    SHARED(uint4, values, OF_TILE);

    const Place place(attention, QUERIES);
    const uint32_t thread = thread_index(), lane = thread % 32, g = lane / 4, t = lane % 4, dim = attention.dim;
    const uint32_t query = place.query + thread / 32 * 16 + g;
    const float *q = arena + place.of(attention.q), *k = arena + place.of(attention.k);
    const float *v = arena + place.of(attention.v);

    uint4 queries[BLOCKS];
    auto pair_of_query = [&](uint32_t of, uint32_t at) {
        if (of >= attention.queries) return 0u;
        const float *from = q + of * attention.q.token_stride + at;
        const float low = at < dim ? read(from) : 0.0f;
        return Type::pair(low, at + 1 < dim ? read(from + 1) : 0.0f);
    };
    UNROLL for (int block = 0; block < BLOCKS; ++block) {
        const uint32_t at = block * 16 + t * 2;
        queries[block] = {pair_of_query(query, at), pair_of_query(query + 8, at), pair_of_query(query, at + 8),
                          pair_of_query(query + 8, at + 8)};
    }

    // Of rows g and g + 8: the largest score, in powers of 2, and a lane's part of the sum of weights.
    const float factor = attention.scale * LOG2_E;
    float largest[2] = {-INFINITY, -INFINITY}, total[2] = {0.0f, 0.0f};
    float sums[DIM / 8][4] = {};

    for (uint32_t first = 0; first < attention.keys; first += KEYS) {
        barrier();
        const Places<uint32_t> key_words = keys.template as<uint32_t>();
        UNROLL_SOME for (int step = 0; step < KEYS * DIM / 4 / THREADS; ++step) {
            const uint32_t i = thread + step * THREADS;
            const uint32_t block = i / 64, row = (i >> 2 & 3) + (i >> 5 & 1) * 4 + (i >> 4 & 1) * 8, at = (i & 3) * 4;
            const uint32_t key = first + block / BLOCKS * 16 + row;
            const float4 x = of_token(attention, k, attention.k, key, attention.keys, block % BLOCKS * 16 + at);
            // Columns of the second instruction are keys 8 to 15.
            const uint32_t to = block * 128, owner = row % 8 * 4 + at % 8 / 2, word = row / 8 * 2 + at / 8;
            key_words[to + swizzled_key(owner) * 4 + word] = Type::pair(x.x, x.y);
            key_words[to + swizzled_key(owner + 1) * 4 + word] = Type::pair(x.z, x.w);
        }
        const Places<uint32_t> value_words = values.template as<uint32_t>();
        UNROLL_SOME for (int step = 0; step < KEYS / 2 * DIM / 4 / THREADS; ++step) {
            const uint32_t i = thread + step * THREADS;
            const uint32_t block = i / 32, pair = i >> 2 & 7, at = (i & 3) * 4;
            const uint32_t key = first + block / BLOCKS * 16 + pair * 2, number = block % BLOCKS * 16 + at;
            const float4 x = of_token(attention, v, attention.v, key, attention.keys, number);
            const float4 y = of_token(attention, v, attention.v, key + 1, attention.keys, number);
            const uint32_t to = block * 128, owner = at % 8 * 4 + pair % 4, word = at / 8 * 2 + pair / 4;
            value_words[to + swizzled_value(owner) * 4 + word] = Type::pair(x.x, y.x);
            value_words[to + swizzled_value(owner + 4) * 4 + word] = Type::pair(x.y, y.y);
            value_words[to + swizzled_value(owner + 8) * 4 + word] = Type::pair(x.z, y.z);
            value_words[to + swizzled_value(owner + 12) * 4 + word] = Type::pair(x.w, y.w);
        }
        barrier();

        float scores[KEYS / 8][4] = {};
        UNROLL for (int block = 0; block < BLOCKS; ++block) {
            UNROLL for (int j = 0; j < KEYS / 16; ++j) {
                const uint4 b = keys[(j * BLOCKS + block) * 32 + swizzled_key(lane)];
                Type::multiply(scores[2 * j], queries[block], b.x, b.y);
                Type::multiply(scores[2 * j + 1], queries[block], b.z, b.w);
            }
        }

        float most[2] = {largest[0], largest[1]};
        UNROLL for (int j = 0; j < KEYS / 8; ++j) {
            UNROLL for (int i = 0; i < 2; ++i) {
                const uint32_t key = first + j * 8 + t * 2 + i;
                const float more = place.bias(attention, arena, key);
                UNROLL for (int half = 0; half < 2; ++half) {
                    float &score = scores[j][half * 2 + i];
                    score = key < attention.keys ? (score + more) * factor : -INFINITY;
                    most[half] = fmaxf(most[half], score);
                }
            }
        }
        UNROLL for (int half = 0; half < 2; ++half) {
            most[half] = fmaxf(most[half], shuffle_xor(most[half], 1));
            most[half] = fmaxf(most[half], shuffle_xor(most[half], 2));
            const float shrink = exp2f(largest[half] - most[half]);
            largest[half] = most[half];
            total[half] *= shrink;
            UNROLL for (int j = 0; j < DIM / 8; ++j) {
                sums[j][half * 2] *= shrink;
                sums[j][half * 2 + 1] *= shrink;
            }
        }
        UNROLL for (int j = 0; j < KEYS / 8; ++j) {
            UNROLL for (int i = 0; i < 4; ++i) {
                scores[j][i] = exp2f(scores[j][i] - largest[i / 2]);
                total[i / 2] += scores[j][i];
            }
        }

        UNROLL for (int j = 0; j < KEYS / 16; ++j) {
            const float *low = scores[2 * j], *high = scores[2 * j + 1];
            const uint4 a = {Type::pair(low[0], low[1]), Type::pair(low[2], low[3]), Type::pair(high[0], high[1]),
                             Type::pair(high[2], high[3])};
            UNROLL for (int block = 0; block < BLOCKS; ++block) {
                const uint4 b = values[(j * BLOCKS + block) * 32 + swizzled_value(lane)];
                Type::multiply(sums[2 * block], a, b.x, b.y);
                Type::multiply(sums[2 * block + 1], a, b.z, b.w);
            }
        }
    }

    UNROLL for (int half = 0; half < 2; ++half) {
        float sum = total[half];
        sum += shuffle_xor(sum, 1);
        sum += shuffle_xor(sum, 2);
        const uint32_t row = query + half * 8;
        if (row >= attention.queries) continue;
        float *to = arena + place.of(attention.out) + row * attention.out.token_stride;
        UNROLL for (int j = 0; j < DIM / 8; ++j) {
            const uint32_t at = j * 8 + t * 2;
            if (at < dim) write(to + at, sums[j][half * 2] / sum);
            if (at + 1 < dim) write(to + at + 1, sums[j][half * 2 + 1] / sum);
        }
    }
}

KERNEL(attention_f16_32, Attention, 128, 4) { attend<AttentionF16, 32>(arguments, arena); }
KERNEL(attention_f16_64, Attention, 128, 3) { attend<AttentionF16, 64>(arguments, arena); }
KERNEL(attention_f16_80, Attention, 128, 3) { attend<AttentionF16, 80>(arguments, arena); }
KERNEL(attention_f16_128, Attention, 128, 2) { attend<AttentionF16, 128>(arguments, arena); }
#ifdef HAS_BF16
KERNEL(attention_bf16_32, Attention, 128, 4) { attend<AttentionBf16, 32>(arguments, arena); }
KERNEL(attention_bf16_64, Attention, 128, 3) { attend<AttentionBf16, 64>(arguments, arena); }
KERNEL(attention_bf16_80, Attention, 128, 3) { attend<AttentionBf16, 80>(arguments, arena); }
KERNEL(attention_bf16_128, Attention, 128, 2) { attend<AttentionBf16, 128>(arguments, arena); }
#endif
