"""The C API of include/flowturbo.h for ctypes: numbers, structs field for field, functions.

The library is told the structs' sizes and refuses ones that it does not know; `layout` is held to the table that the C
tests hold the header to, `FUNCTIONS` to the header.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_char,
    c_char_p,
    c_float,
    c_int32,
    c_int64,
    c_size_t,
    c_uint8,
    c_void_p,
    sizeof,
)
from ctypes import c_uint32 as u32
from ctypes import c_uint64 as u64
from typing import Any

SUFFIX = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")  # of shared libraries

# By channels and numpy's name of a channel's type.
PIXELS = {
    (3, "uint8"): 1,
    (4, "uint8"): 2,
    (3, "float16"): 4,
    (3, "float32"): 5,
    (1, "uint8"): 6,
    (1, "uint16"): 7,
    (1, "float32"): 8,
}
# Each is a bit.
MAPS = {
    "color": 1,
    "normal": 2,
    "height": 4,
    "roughness": 8,
    "metallic": 16,
    "occlusion": 32,
    "orm": 64,
    "mask": 128,
}
NORMAL_Y = {"up": 0, "down": 1}
OUTPUT_IMAGES, OUTPUT_LATENTS = 0, 1
PREVIEW_NONE, PREVIEW_LINEAR, PREVIEW_DECODED = 0, 1, 2
PRECISIONS = ("f32", "f16-weights", "bf16", "int8", "f16", "tf32", "auto")  # by their numbers
DEVICES = {"cpu": 0, "auto": 1, "cuda": 4096}  # GPU N is as many further
SEAMLESS = {"x": 1, "y": 2, "both": 3}
NETWORK_TEXT = 8
WHOLE_STEP = 2**64 - 1

ReadCallback = CFUNCTYPE(c_int32, c_void_p, u64, c_void_p, c_size_t)
ReleaseCallback = CFUNCTYPE(None, c_void_p)
LogCallback = CFUNCTYPE(None, c_void_p, u32, c_char_p, c_char_p)


class Pixels(Structure):
    _fields_ = [
        ("struct_size", u32),
        ("format", u32),
        ("data", c_void_p),
        ("size", c_size_t),
        ("row_stride", c_size_t),
        ("image_stride", c_size_t),
    ]


class Reader(Structure):
    _fields_ = [
        ("struct_size", u32),
        ("reserved", u32),
        ("size", u64),
        ("read", ReadCallback),
        ("release", ReleaseCallback),
        ("user_data", c_void_p),
        ("reserved_end", c_size_t),
    ]


class Option(Structure):
    _fields_ = [("key", c_char_p), ("value", c_char_p)]


class Limits(Structure):
    _fields_ = [
        ("struct_size", u32),
        ("max_edge", u32),
        ("max_channels", u32),
        ("max_classes", u32),
        ("max_batch", u32),
        ("max_steps", u32),
        ("max_manifest_bytes", u64),
        ("max_file_bytes", u64),
        ("max_tensor_bytes", u64),
        ("max_nodes", u32),
        ("max_planning_ms", u32),
        ("max_weight_bytes", u64),
        ("max_arena_bytes", u64),
        ("max_prompt_bytes", u32),
        ("max_tokenizer_bytes", u32),
    ]


class ModelOptions(Structure):
    _fields_ = [
        ("struct_size", u32),
        ("threads", u32),
        ("batch", u32),
        ("lanes", u32),
        ("parallel_for", c_void_p),
        ("parallel_data", c_void_p),
        ("options", POINTER(Option)),
        ("option_count", c_size_t),
        ("limits", POINTER(Limits)),
        ("release_conditioning", u32),
        ("deterministic", u32),
        ("cancel", c_void_p),
        ("precision", u32),
        ("device", u32),
    ]


class ModelInfo(Structure):
    _fields_ = [
        ("struct_size", u32),
        ("width", u32),
        ("height", u32),
        ("latent_channels", u32),
        ("latent_height", u32),
        ("latent_width", u32),
        ("class_count", u32),
        ("networks", u32),
        ("null_class", c_int64),
        ("guidance", c_float),
        ("threads", u32),
        ("name", c_char_p),
        ("description", c_char_p),
        ("license", c_char_p),
        ("schedule", c_char_p),
        ("hash", c_char_p),
        ("cell_width", u32),
        ("cell_height", u32),
        ("preset_count", u32),
        ("tiles", u32),
        ("reserved_end", c_size_t),
        ("context_width", u32),
        ("context_tokens", u32),
        ("device", u32),
        ("reserved", u32),
    ]


class DeviceInfo(Structure):
    _fields_ = [
        ("struct_size", u32),
        ("capability_major", u32),
        ("capability_minor", u32),
        ("driver_major", u32),
        ("driver_minor", u32),
        ("integrated", u32),
        ("memory_bytes", u64),
        ("name", c_char * 128),
        ("uuid", c_char * 48),
    ]


class Progress(Structure):
    _fields_ = [
        ("struct_size", u32),
        ("step", u32),
        ("steps", u32),
        ("kind", u32),
        ("microseconds", u64),
        ("latents", POINTER(c_float)),
        ("latent_count", c_size_t),
        ("preview", POINTER(c_uint8)),
        ("preview_size", c_size_t),
        ("preview_width", u32),
        ("preview_height", u32),
        ("decoded", u32),
        ("pictures", u32),
    ]


ProgressCallback = CFUNCTYPE(c_int32, c_void_p, POINTER(Progress))


class Request(Structure):
    _fields_ = [
        ("struct_size", u32),
        ("image_count", u32),
        ("classes", POINTER(c_int64)),
        ("seed", u64),
        ("schedule", c_char_p),
        ("guidance", c_float),
        ("output", u32),
        ("noise", POINTER(c_float)),
        ("noise_count", c_size_t),
        ("cancel", c_void_p),
        ("progress", ProgressCallback),
        ("progress_data", c_void_p),
        ("preview", u32),
        ("reserved", u32),
        ("preset", c_char_p),
        ("tile", u32),
        ("width", u32),
        ("height", u32),
        ("strength", c_float),
        ("init", POINTER(Pixels)),
        ("init_count", u32),
        ("variation", c_float),
        ("variation_seed", u64),
        ("mask", c_void_p),
        ("mask_size", c_size_t),
        ("morph_classes", POINTER(c_int64)),
        ("morph_amounts", POINTER(c_float)),
        ("seeds", POINTER(u64)),
        ("seed_count", c_size_t),
        ("streams", POINTER(u64)),
        ("stream_count", c_size_t),
        ("context", POINTER(c_float)),
        ("context_count", c_size_t),
        ("context_rows", c_size_t),
        ("negative_context", POINTER(c_float)),
        ("negative_context_count", c_size_t),
        ("negative_context_rows", c_size_t),
        ("prompts", POINTER(c_char_p)),
        ("prompt_count", c_size_t),
        ("negative_prompt", c_char_p),
        ("reserved_end", c_size_t),
    ]


class Memory(Structure):
    _fields_ = [
        ("struct_size", u32),
        ("reserved", u32),
        ("model_bytes", u64),
        ("session_bytes", u64),
        ("passing_bytes", u64),
    ]


STRUCTS = {
    "ft_pixels": Pixels,
    "ft_reader": Reader,
    "ft_option": Option,
    "ft_model_options": ModelOptions,
    "ft_limits": Limits,
    "ft_model_info": ModelInfo,
    "ft_progress": Progress,
    "ft_request": Request,
    "ft_device_info": DeviceInfo,
    "ft_memory": Memory,
}


# What each returns, then what it takes; handles are numbers.
FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "ft_version": (u32,),
    "ft_version_string": (c_char_p,),
    "ft_status_name": (c_char_p, c_int32),
    "ft_last_error_message": (c_char_p,),
    "ft_log_set": (c_int32, LogCallback, c_void_p, u32),
    "ft_pixels_init": (c_int32, POINTER(Pixels), c_size_t),
    "ft_pixels_save_png": (c_int32, POINTER(Pixels), u32, u32, c_char_p),
    "ft_cancel_token_new": (c_int32, POINTER(c_void_p)),
    "ft_cancel_token_cancel": (c_int32, c_void_p),
    "ft_cancel_token_reset": (c_int32, c_void_p),
    "ft_cancel_token_is_cancelled": (c_int32, c_void_p, POINTER(c_uint8)),
    "ft_cancel_token_free": (None, c_void_p),
    "ft_reader_init": (c_int32, POINTER(Reader), c_size_t),
    "ft_limits_init": (c_int32, POINTER(Limits), c_size_t),
    "ft_device_count": (c_int32, POINTER(u32)),
    "ft_device_get_info": (c_int32, u32, POINTER(DeviceInfo)),
    "ft_model_options_init": (c_int32, POINTER(ModelOptions), c_size_t),
    "ft_model_open": (c_int32, c_char_p, POINTER(ModelOptions), POINTER(c_void_p)),
    "ft_model_open_memory": (
        c_int32,
        c_void_p,
        c_size_t,
        ReleaseCallback,
        c_void_p,
        POINTER(ModelOptions),
        POINTER(c_void_p),
    ),
    "ft_model_open_reader": (c_int32, POINTER(Reader), POINTER(ModelOptions), POINTER(c_void_p)),
    "ft_model_free": (None, c_void_p),
    "ft_model_get_info": (c_int32, c_void_p, POINTER(ModelInfo)),
    "ft_model_class_label": (c_int32, c_void_p, c_int64, POINTER(c_char_p)),
    "ft_model_preset_name": (c_int32, c_void_p, u32, POINTER(c_char_p)),
    "ft_model_find_class": (c_int32, c_void_p, c_char_p, POINTER(c_int64)),
    "ft_model_get_maps": (c_int32, c_void_p, POINTER(u32)),
    "ft_request_init": (c_int32, POINTER(Request), c_size_t),
    "ft_model_prepare": (c_int32, c_void_p, POINTER(Request), POINTER(Memory)),
    "ft_session_new": (c_int32, c_void_p, POINTER(c_void_p)),
    "ft_session_free": (None, c_void_p),
    "ft_session_prepare": (c_int32, c_void_p, POINTER(Request)),
    "ft_session_generate": (c_int32, c_void_p, POINTER(Request), POINTER(Pixels)),
    "ft_session_begin": (c_int32, c_void_p, POINTER(Request)),
    "ft_session_reset": (c_int32, c_void_p),
    "ft_session_step": (c_int32, c_void_p, u64, POINTER(c_uint8)),
    "ft_session_get_steps": (c_int32, c_void_p, POINTER(u32), POINTER(u32)),
    "ft_session_preview": (c_int32, c_void_p, u32, POINTER(Pixels)),
    "ft_session_finish": (c_int32, c_void_p, POINTER(Pixels)),
    "ft_session_get_latents": (c_int32, c_void_p, POINTER(c_float), c_size_t),
    "ft_session_encode": (c_int32, c_void_p, POINTER(Pixels), u32, u32, u32, POINTER(c_float), c_size_t),
    "ft_session_decode": (c_int32, c_void_p, POINTER(c_float), c_size_t, POINTER(Pixels)),
    "ft_session_decode_sized": (c_int32, c_void_p, POINTER(c_float), c_size_t, u32, u32, POINTER(Pixels)),
    "ft_session_get_map": (c_int32, c_void_p, u32, u32, POINTER(Pixels)),
}


def layout() -> Iterator[str]:
    """`struct size`, then `struct.field offset size` for each field."""
    for name, struct in STRUCTS.items():
        yield f"{name} {sizeof(struct)}"
        for field, *_ in struct._fields_:
            place = getattr(struct, field)
            yield f"{name}.{field} {place.offset} {place.size}"
