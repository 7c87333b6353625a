//! Normals, heights and other maps beside the colour.

use super::boundary::{Failure, guard};
use super::model::{MODELS, ft_model};
use super::pixels::{self, ft_pixels};
use super::pointers::place;
use super::session::{at, ft_session};
use super::status::ft_status;
use super::{Map, NormalY};

/// A map of a material, or several: each number is a bit. Colours are sRGB, all other maps linear. docs/maps.md says
/// what engines do with each.
pub type ft_map = u32;

/// Red, green and blue: what every other function gives. Every model that makes images has it.
pub const FT_MAP_COLOR: ft_map = 1;
/// The direction that the surface faces: x to the right in red, y up in green (down with `FT_MAP_NORMAL_Y_DOWN`), z out
/// of the image in blue; -1 to 1 as 0 to 255.
pub const FT_MAP_NORMAL: ft_map = 2;
/// How high the surface lies: 0 is the lowest place, 1 the highest.
pub const FT_MAP_HEIGHT: ft_map = 4;
/// How dull it is: 0 is a mirror, 1 has no highlights.
pub const FT_MAP_ROUGHNESS: ft_map = 8;
/// 1 where it is metal, 0 where it is not.
pub const FT_MAP_METALLIC: ft_map = 16;
/// How open it lies: 1 in the light from all around, 0 in the dark.
pub const FT_MAP_OCCLUSION: ft_map = 32;
/// Packed as glTF has it: occlusion in red, roughness in green, metallic in blue. What the model has not is 1 of
/// occlusion, 0 of metallic.
pub const FT_MAP_ORM: ft_map = 64;
/// Packed as the mask map of Unity's HDRP: metallic in red, occlusion in green, 0 (the detail mask) in blue,
/// smoothness, which is 1 - roughness, in alpha. What the model has not is as above.
pub const FT_MAP_HDRP_MASK: ft_map = 128;

/// How a map is written: 0, or `FT_MAP_NORMAL_Y_DOWN`.
pub type ft_map_flags = u32;

/// The y of normals points down the image, as in DirectX and Unreal. Other maps are the same.
pub const FT_MAP_NORMAL_Y_DOWN: ft_map_flags = 1;

const MAPS: [(ft_map, Map); 8] = [
    (FT_MAP_COLOR, Map::Color),
    (FT_MAP_NORMAL, Map::Normal),
    (FT_MAP_HEIGHT, Map::Height),
    (FT_MAP_ROUGHNESS, Map::Roughness),
    (FT_MAP_METALLIC, Map::Metallic),
    (FT_MAP_OCCLUSION, Map::Occlusion),
    (FT_MAP_ORM, Map::Orm),
    (FT_MAP_HDRP_MASK, Map::HdrpMask),
];

/// Tells which maps the model has: the sum of their numbers, those that are packed of others among them. 0 without a
/// decoder.
///
/// Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL), `FT_ERROR_INVALID_HANDLE`. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_model_get_maps(model: *const ft_model, out_maps: *mut ft_map) -> ft_status {
    guard(|| {
        place(out_maps, "out_maps")?;
        let opened = MODELS.get(model)?;
        let made = opened.model.manifest().maps();
        let maps = MAPS.iter().filter(|(_, map)| map.is_made_of(made)).map(|(number, _)| number).sum();
        // SAFETY: not NULL; the header asks the caller for a place.
        unsafe { out_maps.write(maps) };
        Ok(())
    })
}

/// Writes one map of the images that the session made last, once they are all done: after `ft_session_generate`,
/// `ft_session_finish`, or `ft_session_step` with `*out_done` 1. May be called for any map of the model, in any format
/// that holds it, until another generation begins. The decoder makes all maps of an image at once, so this computes
/// next to nothing and takes no memory.
///
/// `map` is one `FT_MAP_...`, `flags` 0 or `FT_MAP_NORMAL_Y_DOWN`. Colour, normals and ORM go to RGB formats, heights,
/// roughness, metallic and occlusion to grey ones, HDRP's mask map to RGBA8 and BGRA8; formats of floats hold 0 to 1.
/// Of a request with a mask, colour is kept where it says so, other maps are as decoded. After a failure the memory is
/// as it was. Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL, no such map, one that the model has not: the message lists
/// those it has, other flags, a format that does not hold the map, memory that cannot hold the images, images that are
/// not done, a request of `FT_OUTPUT_LATENTS`), `FT_ERROR_BUSY`, `FT_ERROR_PANIC`, `FT_ERROR_INVALID_HANDLE`. Threads:
/// one at a time per session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_session_get_map(
    session: *mut ft_session,
    map: ft_map,
    flags: ft_map_flags,
    pixels: *const ft_pixels,
) -> ft_status {
    guard(|| {
        let (_, map) = *MAPS.iter().find(|(number, _)| *number == map).ok_or_else(|| {
            Failure::argument(format!("map: {map} is no FT_MAP_..., of which one is given"))
        })?;
        let normal_y = match flags {
            0 => NormalY::Up,
            FT_MAP_NORMAL_Y_DOWN => NormalY::Down,
            other => return Err(Failure::argument(format!("flags: {other} is not FT_MAP_NORMAL_Y_DOWN"))),
        };
        // SAFETY: the header asks the caller for a struct and its memory.
        let pixels = unsafe { pixels::read(pixels)? };
        at(session, |desk| Ok(desk.session.map_into(map, &mut pixels.with_normal_y(normal_y))?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_map_has_a_bit_of_its_own() {
        assert_eq!(MAPS.map(|(_, map)| map), Map::ALL);
        assert!(MAPS.iter().enumerate().all(|(i, (number, _))| *number == 1 << i));
    }
}
