#!/bin/sh
# Runs the engine without a screen and without a GPU: Mesa's software OpenGL on a virtual display.
#
#   examples/engine/run-headless.sh ./engine models/textures --frames 240 --screenshot shot.png --fps 30
#
# Drawing then takes the processors too, hence 30 frames a second; two idle cores of a Zen 5 reach 60.
set -eu
export LIBGL_ALWAYS_SOFTWARE=1 SDL_VIDEODRIVER=x11 SDL_AUDIODRIVER=dummy
exec xvfb-run -a -s '-screen 0 960x540x24' "$@"
