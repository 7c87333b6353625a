// Norms of rows with what is done to them next: a warp has a row, which stays in the first cache while it is read
// three times, for its mean, its squares about that, and its result.
#include "functions.h"

KERNEL(norm_rows, Norm, 128, 8) {
    const Norm &norm = arguments;
    const uint32_t row = block_x() * 4 + thread_index() / 32, lane = thread_index() % 32;
    if (row >= norm.rows) return;
    const float *from = arena + norm.x + row * norm.x_stride;
    const int cols = (int)norm.cols, first = (int)lane * 4;

    float mean = 0.0f;
    if (norm.measure == MEASURE_DEVIATION) {
        float sum = 0.0f;
        for (int col = first; col < cols; col += 128) {
            const float4 x = read_some(from + col, cols - col);
            sum += (x.x + x.y) + (x.z + x.w);
        }
        mean = warp_sum(sum) / (float)cols;
    }
    // What rounding left of the sum about the mean corrects both.
    float rest = 0.0f, squares = 0.0f;
    for (int col = first; col < cols; col += 128) {
        const int count = cols - col;
        const float4 x = read_some(from + col, count);
        const float d[4] = {x.x - mean, x.y - mean, x.z - mean, x.w - mean};
        UNROLL for (int i = 0; i < 4; ++i) {
            if (i < count) {
                rest += d[i];
                squares = fmaf(d[i], d[i], squares);
            }
        }
    }
    squares = warp_sum(squares);
    if (norm.measure == MEASURE_DEVIATION) {
        rest = warp_sum(rest);
        mean += rest / (float)cols;
        squares -= rest * rest / (float)cols;
    }
    const float factor = 1.0f / sqrtf(squares / (float)cols + norm.eps);

    const uint64_t further = row / norm.rows_per_image * norm.image_stride;
    float *to = arena + norm.out + row * norm.out_stride;
    for (int col = first; col < cols; col += 128) {
        const int count = cols - col;
        float4 x = read_some(from + col, count);
        float4 gain = {1.0f, 1.0f, 1.0f, 1.0f}, bias = {0.0f, 0.0f, 0.0f, 0.0f};
        if (norm.gamma != NOWHERE) gain = read_some(arena + norm.gamma + col, count);
        if (norm.beta != NOWHERE) bias = read_some(arena + norm.beta + col, count);
        if (norm.scale != NOWHERE) {
            const float4 scale = read_some(arena + norm.scale + further + col, count);
            gain = {gain.x * scale.x, gain.y * scale.y, gain.z * scale.z, gain.w * scale.w};
            bias = {bias.x * scale.x, bias.y * scale.y, bias.z * scale.z, bias.w * scale.w};
        }
        if (norm.shift != NOWHERE) {
            const float4 shift = read_some(arena + norm.shift + further + col, count);
            bias = {bias.x + shift.x, bias.y + shift.y, bias.z + shift.z, bias.w + shift.w};
        }
        x.x = fmaf((x.x - mean) * factor, gain.x, bias.x);
        x.y = fmaf((x.y - mean) * factor, gain.y, bias.y);
        x.z = fmaf((x.z - mean) * factor, gain.z, bias.z);
        x.w = fmaf((x.w - mean) * factor, gain.w, bias.w);
        write_some(to + col, x, count);
    }
}
