//! The layout of the header's structs, held to the tables that C is held to as well.

use std::mem::{offset_of, size_of_val};

use super::device::ft_device_info;
use super::limits::ft_limits;
use super::memory::ft_memory;
use super::model::ft_model_info;
use super::model_options::{ft_model_options, ft_option};
use super::pixels::ft_pixels;
use super::reader::ft_reader;
use super::request::{ft_progress, ft_request};

/// `struct size` and `struct.field offset size`, as in `tests/c/layout.txt`.
fn layout() -> String {
    let mut table = String::new();
    macro_rules! structs {
        ($($name:ident: $($field:ident),*;)*) => {
            $(
                table += &format!("{} {}\n", stringify!($name), size_of::<$name>());
                // SAFETY: integers, floats and pointers may all be zero.
                let value: $name = unsafe { std::mem::zeroed() };
                $(
                    let (offset, size) = (offset_of!($name, $field), size_of_val(&value.$field));
                    table += &format!("{}.{} {offset} {size}\n", stringify!($name), stringify!($field));
                )*
            )*
        };
    }
    structs! {
        ft_pixels: struct_size, format, data, size, row_stride, image_stride;
        ft_reader: struct_size, reserved, size, read, release, user_data, reserved_end;
        ft_option: key, value;
        ft_model_options:
            struct_size, threads, batch, lanes, parallel_for, parallel_data, options, option_count, limits,
            release_conditioning, deterministic, cancel, precision, device;
        ft_limits:
            struct_size, max_edge, max_channels, max_classes, max_batch, max_steps, max_manifest_bytes,
            max_file_bytes, max_tensor_bytes, max_nodes, max_planning_ms, max_weight_bytes, max_arena_bytes,
            max_prompt_bytes, max_tokenizer_bytes;
        ft_model_info:
            struct_size, width, height, latent_channels, latent_height, latent_width, class_count, networks,
            null_class, guidance, threads, name, description, license, schedule, hash, cell_width,
            cell_height, preset_count, tiles, reserved_end, context_width, context_tokens, device, reserved;
        ft_progress:
            struct_size, step, steps, kind, microseconds, latents, latent_count, preview, preview_size,
            preview_width, preview_height, decoded, pictures;
        ft_request:
            struct_size, image_count, classes, seed, schedule, guidance, output, noise, noise_count, cancel,
            progress, progress_data, preview, reserved, preset, tile, width, height, strength, init,
            init_count, variation, variation_seed, mask, mask_size, morph_classes, morph_amounts, seeds,
            seed_count, streams, stream_count, context, context_count, context_rows, negative_context,
            negative_context_count, negative_context_rows, prompts, prompt_count, negative_prompt, reserved_end;
        ft_device_info:
            struct_size, capability_major, capability_minor, driver_major, driver_minor, integrated, memory_bytes, name,
            uuid;
        ft_memory: struct_size, reserved, model_bytes, session_bytes, passing_bytes;
    }
    table
}

#[test]
fn structs_lie_as_the_table_says() {
    let table = match (size_of::<usize>(), align_of::<u64>()) {
        (8, _) => include_str!("../../../tests/c/layout.txt"),
        (_, 8) => include_str!("../../../tests/c/layout-32.txt"),
        _ => include_str!("../../../tests/c/layout-x86.txt"),
    };
    assert_eq!(layout(), table);
}
