// What all products share: which tile a block has, where its rows lie, and what is done to finished sums.
#pragma once

#include "functions.h"

// Rows of tiles that blocks take together, column by column, so that what they read stays in the second cache.
#define TILES_TOGETHER 8

// The first row and column of a block's tile.
struct Tile {
    uint32_t row, col;
};

template <int ROWS, int COLS> DEVICE Tile tile_of_block(const Matmul &product) {
    const uint32_t tile_rows = (product.rows + ROWS - 1) / ROWS, tile_cols = (product.cols + COLS - 1) / COLS;
    const uint32_t together = TILES_TOGETHER * tile_cols;
    const uint32_t first = block_x() / together * TILES_TOGETHER, within = block_x() % together;
    const uint32_t left = tile_rows - first, height = left < TILES_TOGETHER ? left : TILES_TOGETHER;
    return {(first + within % height) * ROWS, within / height * COLS};
}

// Where a row of a product is read and written; c is NOWHERE for one that is not there.
struct Row {
    uint64_t a, c;
    uint32_t row, image;
};

// Looks up a tile's rows, one for each thread; whoever reads them meets at a barrier before.
template <int ROWS> DEVICE void find_rows(const Matmul &product, uint32_t first, const Places<Row> &rows) {
    const uint32_t thread = thread_index();
    if (thread >= ROWS) return;
    const uint32_t row = first + thread;
    Row found = {0, NOWHERE, 0, 0};
    if (row < product.rows) {
        const uint32_t group = row / product.rows_per_group, within = row % product.rows_per_group;
        const Group *of = (const Group *)product.groups + group;
        found.a = read(&of->a) + within * product.a_stride;
        found.c = read(&of->c) + within * product.c_stride;
        found.row = read(&of->row) + within;
        found.image = read(&of->image);
    }
    rows[thread] = found;
}

// A thread's way through the inner dimension: 4 numbers at a time, STEP numbers further each time.
struct Left {
    uint32_t segment, within;
    // Where the segment starts, from where a row does.
    uint64_t start;

    DEVICE_MEMBER void begin(const Matmul &product, uint32_t at) {
        segment = 0;
        within = at;
        find(product);
        settle(product);
    }

    DEVICE_MEMBER void advance(const Matmul &product, uint32_t step) {
        within += step;
        settle(product);
    }

    // The 4 numbers of a row; zeros behind its end, and where there is no row.
    DEVICE_MEMBER float4 load(const Matmul &product, const float *arena, const Row &row) const {
        float4 x = {0.0f, 0.0f, 0.0f, 0.0f};
        if (segment >= product.segment_count || row.c == NOWHERE) return x;
        const float *from = arena + row.a;
        if (product.aligned) return read((const float4 *)(from + start + within));
        Left at = *this;
        ROLLED for (int i = 0; i < 4; ++i) x = {x.y, x.z, x.w, at.next(product, from)};
        return x;
    }

private:
    DEVICE_MEMBER void settle(const Matmul &product) {
        while (within >= product.k && segment < product.segment_count) {
            within -= product.k;
            ++segment;
            find(product);
        }
    }

    DEVICE_MEMBER void find(const Matmul &product) {
        start = segment < product.segment_count ? read((const uint64_t *)product.segments + segment) : 0;
    }

    DEVICE_MEMBER float next(const Matmul &product, const float *row) {
        if (segment >= product.segment_count) return 0.0f;
        const float x = read(row + start + within);
        ++within;
        settle(product);
        return x;
    }
};

DEVICE float4 add(const float4 &x, const float4 &y) { return {x.x + y.x, x.y + y.y, x.z + y.z, x.w + y.w}; }
DEVICE float4 multiply(const float4 &x, const float4 &y) { return {x.x * y.x, x.y * y.y, x.z * y.z, x.w * y.w}; }

// Takes up to 4 finished sums of a row through the epilogue and writes them.
DEVICE void finish(const Matmul &product, float *arena, float4 x, const Row &row, uint32_t col, int count) {
    for (uint32_t i = 0; i < product.steps; ++i) {
        const EpilogueStep &step = product.epilogue[i];
        const float *from = arena + step.offset + col;
        switch (step.kind) {
            case EPILOGUE_BIAS:
                x = add(x, read_some(from, count));
                break;
            case EPILOGUE_GELU_TANH:
                x = {gelu_tanh(x.x), gelu_tanh(x.y), gelu_tanh(x.z), gelu_tanh(x.w)};
                break;
            case EPILOGUE_GELU_ERF:
                x = {gelu_erf(x.x), gelu_erf(x.y), gelu_erf(x.z), gelu_erf(x.w)};
                break;
            case EPILOGUE_SILU:
                x = {silu(x.x), silu(x.y), silu(x.z), silu(x.w)};
                break;
            case EPILOGUE_GATE:
                x = multiply(x, read_some(from + row.image * step.stride, count));
                break;
            case EPILOGUE_RESIDUAL:
                x = add(x, read_some(from + row.row * step.stride, count));
                break;
            default:
                x = {x.x * step.factor, x.y * step.factor, x.z * step.factor, x.w * step.factor};
        }
    }
    write_some(arena + row.c + col, x, count);
}

// A warp's patch of sums in shared memory: rows lie so far apart that lanes which write parts of them meet no bank
// twice.
template <int ROWS, int COLS> struct Patch {
    static const int STRIDE = COLS + 8, FLOATS = ROWS * STRIDE;

    // Finishes the patch; row i of it is row `first + i * step` of the tile.
    DEVICE_MEMBER static void finish(const Matmul &product, float *arena, const Places<float> &sums,
                                     const Places<Row> &rows, uint32_t first, uint32_t step, uint32_t col) {
        const uint32_t lane = thread_index() % 32, lanes = COLS / 4;
        const uint32_t within = lane % lanes * 4;
        const int count = (int)product.cols - (int)(col + within);
        for (uint32_t i = lane / lanes; i < ROWS; i += 32 / lanes) {
            const Row row = rows[first + i * step];
            if (row.c == NOWHERE || count <= 0) continue;
            const Places<float4> quads = sums.template as<float4>();
            ::finish(product, arena, quads[(i * STRIDE + within) / 4], row, col + within, count);
        }
    }
};
