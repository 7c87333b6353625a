// The statistics of a group norm: of each chunk of pixels every channel's mean and its squares about that, then of
// these what each group of channels has. Sums are added up in one order, whatever the GPU.
#include "functions.h"

// A block has a chunk and 32 channels: a lane for each channel, a warp for every eighth pixel.
KERNEL(group_norm_partials, GroupNorm, 256, 4) {
    const GroupNorm &norm = arguments;
    const uint32_t WARPS = 8;
    SHARED(float, sums, 32 * 8);
    const uint32_t lane = thread_index() % 32, warp = thread_index() / 32;
    const uint32_t image = block_x() / norm.chunks, chunk = block_x() % norm.chunks, first = chunk * norm.chunk;
    const uint32_t left = norm.pixels - first, pixels = left < norm.chunk ? left : norm.chunk;
    const float *from = arena + norm.x + image * norm.image_stride + first * norm.x_stride;
    float *to = arena + norm.partial + (uint64_t)block_x() * 2 * norm.channels;

    for (uint32_t start = block_y() * 32; start < norm.channels; start += blocks_y() * 32) {
        const uint32_t channel = start + lane;
        const bool mine = channel < norm.channels;
        float sum = 0.0f, squares = 0.0f;
        for (uint32_t pixel = warp; mine && pixel < pixels; pixel += WARPS) {
            sum += read(from + pixel * norm.x_stride + channel);
        }
        // What all warps have, in the order of the warps.
        auto all = [&](float of_warp) {
            barrier();
            sums[warp * 32 + lane] = of_warp;
            barrier();
            float sum = 0.0f;
            for (uint32_t i = 0; i < WARPS; ++i) sum += sums[i * 32 + lane];
            return sum;
        };
        const float mean = all(sum) / (float)pixels;
        for (uint32_t pixel = warp; mine && pixel < pixels; pixel += WARPS) {
            const float d = read(from + pixel * norm.x_stride + channel) - mean;
            squares = fmaf(d, d, squares);
        }
        squares = all(squares);
        if (mine && warp == 0) {
            write(to + channel, mean);
            write(to + norm.channels + channel, squares);
        }
    }
}

DEVICE double sum_of_block(const Places<double> &room, double of_thread) {
    barrier();
    room[thread_index()] = of_thread;
    barrier();
    for (uint32_t half = 64; half > 0; half /= 2) {
        if (thread_index() < half) room[thread_index()] += room[thread_index() + half];
        barrier();
    }
    return room[0];
}

// A block has a group of an image.
KERNEL(group_norm_fold, GroupNorm, 128, 4) {
    const GroupNorm &norm = arguments;
    SHARED(double, room, 128);
    const uint32_t image = block_x() / norm.groups, group = block_x() % norm.groups;
    const uint32_t channels = norm.channels / norm.groups, first = group * channels;
    const float *from = arena + norm.partial + (uint64_t)image * norm.chunks * 2 * norm.channels + first;
    const uint32_t parts = norm.chunks * channels;
    const double count = (double)norm.pixels * channels;
    auto pixels = [&](uint32_t chunk) {
        const uint32_t left = norm.pixels - chunk * norm.chunk;
        return (double)(left < norm.chunk ? left : norm.chunk);
    };

    double sum = 0.0;
    for (uint32_t i = thread_index(); i < parts; i += 128) {
        const uint32_t chunk = i / channels;
        sum += pixels(chunk) * (double)read(from + (uint64_t)chunk * 2 * norm.channels + i % channels);
    }
    const double mean = sum_of_block(room, sum) / count;
    double squares = 0.0;
    for (uint32_t i = thread_index(); i < parts; i += 128) {
        const uint32_t chunk = i / channels;
        const float *part = from + (uint64_t)chunk * 2 * norm.channels + i % channels;
        const double off = (double)read(part) - mean;
        squares += (double)read(part + norm.channels) + pixels(chunk) * (off * off);
    }
    const double factor = 1.0 / sqrt(sum_of_block(room, squares) / count + (double)norm.eps);

    float *to = arena + norm.out + (uint64_t)image * 2 * norm.channels + first;
    for (uint32_t i = thread_index(); i < channels; i += 128) {
        const double gamma = norm.gamma == NOWHERE ? 1.0 : (double)read(arena + norm.gamma + first + i);
        const double beta = norm.beta == NOWHERE ? 0.0 : (double)read(arena + norm.beta + first + i);
        const double scale = gamma * factor;
        write(to + i, (float)scale);
        write(to + norm.channels + i, (float)(beta - mean * scale));
    }
}
