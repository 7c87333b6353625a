// What a convolution reads: an image scaled and shifted by channel, activated, enlarged and padded. A block has a part
// of a row of the result, a thread a float of it.
#include "functions.h"

// Where an image's row or column is that a result's shows; NOWHERE in a border of zeros.
DEVICE uint64_t source_of(uint32_t at, uint32_t before, uint32_t size, uint32_t enlarge, uint32_t border) {
    const uint32_t period = size * enlarge;
    if (at >= before && at < before + period) return (at - before) / enlarge;
    if (border == BORDER_ZERO) return NOWHERE;
    // A whole number of images away.
    return (at + period - before % period) % period / enlarge;
}

KERNEL(stage, Stage, 256, 4) {
    const Stage &stage = arguments;
    const uint32_t out_height = stage.height * stage.enlarge + stage.top + stage.bottom;
    const uint32_t out_width = stage.width * stage.enlarge + stage.left + stage.right;
    const uint32_t image = block_x() / out_height, row = out_width * stage.channels;
    const uint64_t y = source_of(block_x() % out_height, stage.top, stage.height, stage.enlarge, stage.border);
    const float *from = arena + stage.x + image * stage.image_stride;
    const float *constants = arena + stage.affine + (uint64_t)image * 2 * stage.channels;
    float *to = arena + stage.out + (uint64_t)block_x() * row;

    for (uint32_t i = block_y() * 256 + thread_index(); i < row; i += blocks_y() * 256) {
        const uint32_t channel = i % stage.channels;
        const uint64_t x = source_of(i / stage.channels, stage.left, stage.width, stage.enlarge, stage.border);
        float value = 0.0f;
        if (x != NOWHERE && y != NOWHERE) {
            value = read(from + (y * stage.width + x) * stage.pixel_stride + channel);
            if (stage.affine != NOWHERE) {
                value = fmaf(value, read(constants + channel), read(constants + stage.channels + channel));
            }
            if (stage.silu) value = silu(value);
        }
        write(to + i, value);
    }
}
