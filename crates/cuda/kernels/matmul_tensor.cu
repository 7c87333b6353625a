// Products by tensor cores: of f16 or bf16, 16 rows of the weights at a time, or of tf32, 8 at a time.
//
// A block makes a tile of the result. For 64 bytes of each of its rows at a time, the left side goes through registers
// to shared memory, where it is rounded on the way; the weights are copied there as they were packed. Both lie in the
// order of an instruction's operands: blocks of 512 bytes, 16 for each lane. While one stretch is multiplied, the next
// is on its way. A lane is 4 g + t: in a block of the left side it has rows g and g + 8, and of these the numbers
// 2t, 2t + 1, 2t + 8, 2t + 9 (t and t + 4 of tf32).
#include "product.h"

struct F16 {
    // Numbers of a row in a stretch and in a block.
    static const int STRETCH = 32, BLOCK = 16;
    DEVICE_MEMBER static uint32_t pair(float low, float high) { return to_f16(low, high); }
    DEVICE_MEMBER static void multiply(float (&c)[4], const uint4 &a, uint32_t b0, uint32_t b1) {
        multiply_f16(c, a, b0, b1);
    }
};

#ifdef HAS_BF16
struct Bf16 {
    static const int STRETCH = 32, BLOCK = 16;
    DEVICE_MEMBER static uint32_t pair(float low, float high) { return to_bf16(low, high); }
    DEVICE_MEMBER static void multiply(float (&c)[4], const uint4 &a, uint32_t b0, uint32_t b1) {
        multiply_bf16(c, a, b0, b1);
    }
};

struct Tf32 {
    static const int STRETCH = 16, BLOCK = 8;
    DEVICE_MEMBER static void multiply(float (&c)[4], const uint4 &a, uint32_t b0, uint32_t b1) {
        multiply_tf32(c, a, b0, b1);
    }
};
#endif

// Where a thread's 4 numbers of the left side belong in a stretch. Threads of a warp have them so that their stores
// meet no bank twice, with lanes' 16 bytes exchanged as `swizzled` says.
template <class Type> struct Corner;

template <> struct Corner<F16> {
    uint32_t row, k;
    DEVICE_MEMBER explicit Corner(uint32_t i) {
        row = i / 128 * 16 + (i >> 2 & 3) + (i >> 5 & 1) * 4 + (i >> 4 & 1) * 8;
        k = (i & 3) * 4 + (i >> 6 & 1) * 16;
    }
    DEVICE_MEMBER static uint32_t swizzled(uint32_t lane) { return lane ^ (lane >> 3 & 1); }
    template <class Pair> DEVICE_MEMBER void store(const Places<uint32_t> &words, const float4 &x, Pair pair) const {
        const uint32_t block = (row / 16 * 2 + k / 16) * 128, lane = row % 8 * 4 + k % 8 / 2;
        const uint32_t word = row % 16 / 8 + k % 16 / 8 * 2;
        words[block + swizzled(lane) * 4 + word] = pair(x.x, x.y);
        words[block + swizzled(lane + 1) * 4 + word] = pair(x.z, x.w);
    }
    DEVICE_MEMBER void put(const Places<uint32_t> &words, const float4 &x) const { store(words, x, F16::pair); }
};

#ifdef HAS_BF16
template <> struct Corner<Bf16> : Corner<F16> {
    DEVICE_MEMBER explicit Corner(uint32_t i) : Corner<F16>(i) {}
    DEVICE_MEMBER void put(const Places<uint32_t> &words, const float4 &x) const { store(words, x, Bf16::pair); }
};

template <> struct Corner<Tf32> {
    uint32_t row, k;
    DEVICE_MEMBER explicit Corner(uint32_t i) {
        row = i / 64 * 16 + (i >> 1 & 15);
        k = (i & 1) * 4 + (i >> 5 & 1) * 8;
    }
    DEVICE_MEMBER static uint32_t swizzled(uint32_t lane) { return lane ^ (lane >> 3 & 3); }
    DEVICE_MEMBER void put(const Places<uint32_t> &words, const float4 &x) const {
        const uint32_t block = (row / 16 * 2 + k / 8) * 128, lane = row % 8 * 4;
        const uint32_t word = row % 16 / 8 + k % 8 / 4 * 2;
        words[block + swizzled(lane) * 4 + word] = to_tf32(x.x);
        words[block + swizzled(lane + 1) * 4 + word] = to_tf32(x.y);
        words[block + swizzled(lane + 2) * 4 + word] = to_tf32(x.z);
        words[block + swizzled(lane + 3) * 4 + word] = to_tf32(x.w);
    }
};
#endif

// A tile of ROWS by COLS by warps that have WARP_ROWS by 32 of it each.
template <class Type, int ROWS, int COLS, int WARP_ROWS>
DEVICE void multiply_tile(const Matmul &product, float *arena) {
    const int WARP_COLS = 32, PANEL = 64;
    const int THREADS = ROWS / WARP_ROWS * (COLS / WARP_COLS) * 32;
    // Per thread and stretch: quadruples of the left side, 16 bytes of weights.
    const int QUADS = ROWS * Type::STRETCH / 4 / THREADS, COPIES = COLS * 4 / THREADS;
    // In units of 16 bytes: a stretch of the tile's rows, of a panel, of the tile's columns.
    const int LEFT = ROWS * 4, OF_PANEL = PANEL * 4, RIGHT = COLS * 4;
    typedef Patch<16, WARP_COLS> Sums;
    static_assert(THREADS / 32 * Sums::FLOATS <= 2 * (LEFT + RIGHT) * 4, "patches fit where the operands were");
    SHARED(Row, rows, ROWS);
    SHARED(uint4, operands, 2 * (LEFT + RIGHT));

    const Tile tile = tile_of_block<ROWS, COLS>(product);
    const uint32_t thread = thread_index(), lane = thread % 32, warp = thread / 32;
    const uint32_t warp_row = warp / (COLS / WARP_COLS) * WARP_ROWS, warp_col = warp % (COLS / WARP_COLS) * WARP_COLS;
    find_rows<ROWS>(product, tile.row, rows);
    barrier();

    const uint32_t depth = product.segment_count * product.k;
    const uint32_t stretches = (depth + Type::STRETCH - 1) / Type::STRETCH;
    // Stretches of a panel, whose depth is a multiple of 32.
    const uint32_t panel_stretches = (depth + 31) / 32 * (32 / Type::STRETCH);
    const uint32_t panels = (product.cols + PANEL - 1) / PANEL;
    const uint4 *weights = (const uint4 *)product.weights;

    Left left;
    left.begin(product, Corner<Type>(thread).k);
    float4 ahead[QUADS];
    auto load = [&] {
        UNROLL for (int i = 0; i < QUADS; ++i) {
            const Row &row = rows[Corner<Type>(thread + i * THREADS).row];
            ahead[i] = left.load(product, arena, row);
        }
    };
    auto store = [&](int buffer) {
        const Places<uint32_t> words = operands.template as<uint32_t>(buffer * LEFT);
        UNROLL for (int i = 0; i < QUADS; ++i) Corner<Type>(thread + i * THREADS).put(words, ahead[i]);
    };
    // Columns of a panel that is not there stay as they are: nothing of them is written.
    auto copy = [&](int buffer, uint32_t stretch) {
        UNROLL for (int i = 0; i < COPIES; ++i) {
            const uint32_t at = thread + i * THREADS, panel = tile.col / PANEL + at / OF_PANEL;
            if (panel < panels) {
                copy_ahead(&operands[2 * LEFT + buffer * RIGHT + at],
                           weights + ((uint64_t)panel * panel_stretches + stretch) * OF_PANEL + at % OF_PANEL);
            }
        }
    };

    float c[WARP_ROWS / 16][WARP_COLS / 8][4] = {};
    auto multiply = [&](int buffer) {
        UNROLL for (int block = 0; block < 2; ++block) {
            uint4 b[WARP_COLS / 16];
            UNROLL for (int j = 0; j < WARP_COLS / 16; ++j) {
                const uint32_t col = warp_col / 16 + j;
                b[j] = operands[2 * LEFT + buffer * RIGHT + col / 4 * OF_PANEL + (block * 4 + col % 4) * 32 + lane];
            }
            UNROLL for (int i = 0; i < WARP_ROWS / 16; ++i) {
                const uint32_t at = ((warp_row / 16 + i) * 2 + block) * 32 + Corner<Type>::swizzled(lane);
                const uint4 a = operands[buffer * LEFT + at];
                UNROLL for (int j = 0; j < WARP_COLS / 16; ++j) {
                    Type::multiply(c[i][2 * j], a, b[j].x, b[j].y);
                    Type::multiply(c[i][2 * j + 1], a, b[j].z, b[j].w);
                }
            }
        }
    };
    // In each turn one stretch is fetched, and the one before is multiplied.
    for (uint32_t turn = 0; turn <= stretches; ++turn) {
        const int next = turn % 2, buffer = 1 - next;
        if (turn < stretches) {
            copy(next, turn);
            load();
            left.advance(product, Type::STRETCH);
        }
        if (turn > 0) {
            // Lanes fetched each by its own branches.
            warp_barrier();
            multiply(buffer);
        }
        if (turn < stretches) store(next);
        wait_for_copies();
        barrier();
    }

    // Sums lie in pairs of columns; through shared memory they come to be written in whole lines.
    const Places<float> sums = operands.template as<float>(warp * (Sums::FLOATS / 4));
    for (int i = 0; i < WARP_ROWS / 16; ++i) {
        UNROLL for (int at = 0; at < WARP_ROWS / 16; ++at) {
            if (at != i) continue;
            UNROLL for (int j = 0; j < WARP_COLS / 8; ++j) {
                const uint32_t to = lane / 4 * Sums::STRIDE + j * 8 + lane % 4 * 2;
                sums[to] = c[at][j][0];
                sums[to + 1] = c[at][j][1];
                sums[to + 8 * Sums::STRIDE] = c[at][j][2];
                sums[to + 8 * Sums::STRIDE + 1] = c[at][j][3];
            }
        }
        warp_barrier();
        Sums::finish(product, arena, sums, rows, warp_row + i * 16, 1, tile.col + warp_col);
        warp_barrier();
    }
}

// Turing's multiprocessor has shared memory for one large tile only.
#ifdef HAS_BF16
#define LARGE_TILES 2
#else
#define LARGE_TILES 1
#endif

KERNEL(matmul_f16_128, Matmul, 256, LARGE_TILES) { multiply_tile<F16, 128, 128, 64>(arguments, arena); }
KERNEL(matmul_f16_64, Matmul, 128, 4) { multiply_tile<F16, 64, 64, 32>(arguments, arena); }
#ifdef HAS_BF16
KERNEL(matmul_bf16_128, Matmul, 256, LARGE_TILES) { multiply_tile<Bf16, 128, 128, 64>(arguments, arena); }
KERNEL(matmul_bf16_64, Matmul, 128, 4) { multiply_tile<Bf16, 64, 64, 32>(arguments, arena); }
KERNEL(matmul_tf32_128, Matmul, 256, LARGE_TILES) { multiply_tile<Tf32, 128, 128, 64>(arguments, arena); }
KERNEL(matmul_tf32_64, Matmul, 128, 4) { multiply_tile<Tf32, 64, 64, 32>(arguments, arena); }
#endif
