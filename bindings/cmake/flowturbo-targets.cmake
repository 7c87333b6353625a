# What Rust's standard library asks for (rustc --print native-static-libs).
if(WIN32)
  set(FLOWTURBO_NEEDS kernel32 ntdll userenv ws2_32 dbghelp)
elseif(APPLE)
  set(FLOWTURBO_NEEDS "")
else()
  set(FLOWTURBO_NEEDS gcc_s pthread m ${CMAKE_DL_LIBS})
endif()

# flowturbo::shared and flowturbo::static of the files given (one that is empty makes no target), and
# flowturbo::flowturbo, the shared one if there is one. For the installed package and the source tree alike.
function(flowturbo_targets include shared import static)
  set(default "")
  if(shared)
    add_library(flowturbo::shared SHARED IMPORTED GLOBAL)
    set_target_properties(flowturbo::shared PROPERTIES
      IMPORTED_LOCATION "${shared}"
      IMPORTED_IMPLIB "${import}"
      INTERFACE_INCLUDE_DIRECTORIES "${include}")
    set(default flowturbo::shared)
  endif()
  if(static)
    add_library(flowturbo::static STATIC IMPORTED GLOBAL)
    set_target_properties(flowturbo::static PROPERTIES
      IMPORTED_LOCATION "${static}"
      INTERFACE_INCLUDE_DIRECTORIES "${include}")
    target_link_libraries(flowturbo::static INTERFACE ${FLOWTURBO_NEEDS})
    if(NOT WIN32 AND NOT APPLE)
      # For an archive that is not closed (bindings/closed-archive.sh): plugins do not show what is in it, and tract's
      # assembler files do not say that they need no executable stack.
      target_link_options(flowturbo::static INTERFACE LINKER:-z,noexecstack LINKER:--exclude-libs,libflowturbo.a)
      if(ANDROID) # whose newer devices have pages of 16 KiB
        target_link_options(flowturbo::static INTERFACE LINKER:-z,max-page-size=16384)
      endif()
    endif()
    if(NOT default)
      set(default flowturbo::static)
    endif()
  endif()
  add_library(flowturbo::flowturbo INTERFACE IMPORTED GLOBAL)
  set_target_properties(flowturbo::flowturbo PROPERTIES INTERFACE_LINK_LIBRARIES "${default}")
endfunction()
