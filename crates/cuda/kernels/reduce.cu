// Sums, means, maxima and softmax of rows: a warp has a row.
#include "functions.h"

KERNEL(reduce, Reduce, 128, 8) {
    const Reduce &reduce = arguments;
    const uint32_t row = block_x() * 4 + thread_index() / 32, lane = thread_index() % 32;
    if (row >= reduce.rows) return;
    const float *from = arena + reduce.x + row * reduce.x_stride;
    float result;
    if (reduce.reduction == REDUCTION_MAX) {
        float most = -INFINITY;
        for (uint32_t col = lane; col < reduce.cols; col += 32) {
            const float x = read(from + col);
            most = x > most || x != x ? x : most;
        }
        UNROLL for (uint32_t lanes = 16; lanes > 0; lanes /= 2) {
            const float x = shuffle_xor(most, lanes);
            most = x > most || x != x ? x : most;
        }
        result = most;
    } else {
        float sum = 0.0f;
        for (uint32_t col = lane; col < reduce.cols; col += 32) sum += read(from + col);
        sum = warp_sum(sum);
        result = reduce.reduction == REDUCTION_MEAN ? sum / (float)reduce.cols : sum;
    }
    if (lane == 0) write(arena + reduce.out + row * reduce.out_stride, result);
}

KERNEL(softmax, Softmax, 128, 8) {
    const Softmax &softmax = arguments;
    const uint32_t row = block_x() * 4 + thread_index() / 32, lane = thread_index() % 32;
    if (row >= softmax.rows) return;
    const float *from = arena + softmax.x + row * softmax.x_stride;
    float *to = arena + softmax.out + row * softmax.out_stride;
    // A NaN that is passed over here comes out by its own exponential and the sum.
    float most = -INFINITY;
    for (uint32_t col = lane; col < softmax.cols; col += 32) most = fmaxf(most, read(from + col));
    most = warp_largest(most);
    float sum = 0.0f;
    for (uint32_t col = lane; col < softmax.cols; col += 32) sum += expf(read(from + col) - most);
    const float factor = 1.0f / warp_sum(sum);
    for (uint32_t col = lane; col < softmax.cols; col += 32) {
        write(to + col, expf(read(from + col) - most) * factor);
    }
}
