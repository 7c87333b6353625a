// Products of floats, exact up to rounding: no tensor cores. A block makes a tile of the result, a warp 32 by 64 of
// it, a thread 8 by 8: rows and columns in two halves, so that what a warp reads of shared memory are neighbours.
#include "product.h"

template <int ROWS, int COLS> DEVICE void multiply_floats(const Matmul &product, float *arena) {
    const int STRETCH = 16, PANEL = 64;
    const int THREADS = ROWS / 32 * (COLS / 64) * 32;
    const int QUADS = ROWS * STRETCH / 4 / THREADS, COPIES = COLS * STRETCH / 4 / THREADS;
    // The left side lies turned, a row of it for each number of the stretch.
    const int STRIDE = ROWS + 4, LEFT = STRETCH * STRIDE / 4, OF_PANEL = PANEL * STRETCH / 4,
              RIGHT = COLS * STRETCH / 4;
    typedef Patch<4, 64> Sums;
    static_assert(THREADS / 32 * Sums::FLOATS <= 2 * (LEFT + RIGHT) * 4, "patches fit where the operands were");
    SHARED(Row, rows, ROWS);
    SHARED(float4, operands, 2 * (LEFT + RIGHT));

    const Tile tile = tile_of_block<ROWS, COLS>(product);
    const uint32_t thread = thread_index(), lane = thread % 32, warp = thread / 32;
    const uint32_t warp_row = warp / (COLS / 64) * 32, panel_of_warp = warp % (COLS / 64);
    find_rows<ROWS>(product, tile.row, rows);
    barrier();

    const uint32_t depth = product.segment_count * product.k;
    const uint32_t stretches = (depth + STRETCH - 1) / STRETCH, panel_stretches = (depth + 31) / 32 * 2;
    const uint32_t panels = (product.cols + PANEL - 1) / PANEL;
    const float4 *weights = (const float4 *)product.weights;

    // A thread has 4 numbers of rows that are THREADS / 4 apart.
    const uint32_t my_row = thread / 4, my_k = thread % 4 * 4;
    Left left;
    left.begin(product, my_k);
    float4 ahead[QUADS];
    auto load = [&] {
        UNROLL for (int i = 0; i < QUADS; ++i) {
            ahead[i] = left.load(product, arena, rows[my_row + i * (THREADS / 4)]);
        }
    };
    // Rows of the second half of a stretch are exchanged by eights, so that stores meet no bank twice.
    auto store = [&](int buffer) {
        const Places<float> to = operands.template as<float>(buffer * LEFT);
        UNROLL for (int i = 0; i < QUADS; ++i) {
            const uint32_t at = my_k * STRIDE + ((my_row + i * (THREADS / 4)) ^ (my_k & 8));
            to[at] = ahead[i].x;
            to[at + STRIDE] = ahead[i].y;
            to[at + 2 * STRIDE] = ahead[i].z;
            to[at + 3 * STRIDE] = ahead[i].w;
        }
    };
    auto copy = [&](int buffer, uint32_t stretch) {
        UNROLL for (int i = 0; i < COPIES; ++i) {
            const uint32_t at = thread + i * THREADS, panel = tile.col / PANEL + at / OF_PANEL;
            if (panel < panels) {
                copy_ahead(&operands[2 * LEFT + buffer * RIGHT + at],
                           weights + ((uint64_t)panel * panel_stretches + stretch) * OF_PANEL + at % OF_PANEL);
            }
        }
    };

    const uint32_t y = lane / 8, x = lane % 8;
    float c[8][8] = {};
    auto multiply = [&](int buffer) {
        UNROLL_PAIRS for (int k = 0; k < STRETCH; ++k) {
            float4 a[2], b[2];
            UNROLL for (int half = 0; half < 2; ++half) {
                const uint32_t row = (warp_row + half * 16 + y * 4) ^ (k & 8);
                a[half] = operands[buffer * LEFT + (k * STRIDE + row) / 4];
                b[half] = operands[2 * LEFT + buffer * RIGHT + panel_of_warp * OF_PANEL + k * 16 + half * 8 + x];
            }
            const float of_rows[8] = {a[0].x, a[0].y, a[0].z, a[0].w, a[1].x, a[1].y, a[1].z, a[1].w};
            const float of_cols[8] = {b[0].x, b[0].y, b[0].z, b[0].w, b[1].x, b[1].y, b[1].z, b[1].w};
            UNROLL for (int i = 0; i < 8; ++i) {
                UNROLL for (int j = 0; j < 8; ++j) c[i][j] = fmaf(of_rows[i], of_cols[j], c[i][j]);
            }
        }
    };
    // In each turn one stretch is fetched, and the one before is multiplied.
    for (uint32_t turn = 0; turn <= stretches; ++turn) {
        const int next = turn % 2, buffer = 1 - next;
        if (turn < stretches) {
            copy(next, turn);
            load();
            left.advance(product, STRETCH);
        }
        if (turn > 0) multiply(buffer);
        if (turn < stretches) store(next);
        wait_for_copies();
        barrier();
    }

    const Places<float4> sums = operands.template as<float4>(warp * (Sums::FLOATS / 4));
    for (int i = 0; i < 8; ++i) {
        UNROLL for (int at = 0; at < 8; ++at) {
            if (at != i) continue;
            UNROLL for (int half = 0; half < 2; ++half) {
                const float *of = &c[at][half * 4];
                sums[(y * Sums::STRIDE + half * 32 + x * 4) / 4] = {of[0], of[1], of[2], of[3]};
            }
        }
        warp_barrier();
        Sums::finish(product, arena, sums.template as<float>(), rows, warp_row + i / 4 * 16 + i % 4, 4,
                     tile.col + panel_of_warp * PANEL);
        warp_barrier();
    }
}

KERNEL(matmul_f32_128, Matmul, 256, 2) { multiply_floats<128, 128>(arguments, arena); }
KERNEL(matmul_f32_64, Matmul, 64, 6) { multiply_floats<64, 64>(arguments, arena); }
