# What Rust's standard library asks for (rustc --print native-static-libs).
if(WIN32)
  set(FLOWTURBO_NEEDS kernel32 ntdll userenv ws2_32 dbghelp)
elseif(APPLE)
  set(FLOWTURBO_NEEDS "")
else()
  set(FLOWTURBO_NEEDS gcc_s pthread m ${CMAKE_DL_LIBS})
endif()

# Targets of the files given (one that is empty makes no target), for the installed package and the source tree alike.
# With the name `flowturbo`: flowturbo::shared and flowturbo::static, and flowturbo::flowturbo, the shared one if there
# is one. With the name `runtime`, of the library that opens plans alone (docs/plan.md): flowturbo::runtime-shared,
# flowturbo::runtime-static and flowturbo::runtime. FLOWTURBO_TARGETS is then a list of those that were made of files.
function(flowturbo_targets name include shared import static)
  set(kind "")
  if(NOT name STREQUAL "flowturbo")
    set(kind "${name}-")
  endif()
  set(made "")
  if(shared)
    set(target flowturbo::${kind}shared)
    add_library(${target} SHARED IMPORTED GLOBAL)
    set_target_properties(${target} PROPERTIES
      IMPORTED_LOCATION "${shared}"
      IMPORTED_IMPLIB "${import}"
      INTERFACE_INCLUDE_DIRECTORIES "${include}")
    list(APPEND made ${target})
  endif()
  if(static)
    set(target flowturbo::${kind}static)
    add_library(${target} STATIC IMPORTED GLOBAL)
    set_target_properties(${target} PROPERTIES
      IMPORTED_LOCATION "${static}"
      INTERFACE_INCLUDE_DIRECTORIES "${include}")
    target_link_libraries(${target} INTERFACE ${FLOWTURBO_NEEDS})
    if(NOT WIN32 AND NOT APPLE)
      # For an archive that is not closed (bindings/closed-archive.sh): plugins do not show what is in it, and tract's
      # assembler files do not say that they need no executable stack.
      get_filename_component(archive "${static}" NAME)
      target_link_options(${target} INTERFACE LINKER:-z,noexecstack LINKER:--exclude-libs,${archive})
      if(ANDROID) # whose newer devices have pages of 16 KiB
        target_link_options(${target} INTERFACE LINKER:-z,max-page-size=16384)
      endif()
    endif()
    list(APPEND made ${target})
  endif()
  list(GET made 0 default)
  add_library(flowturbo::${name} INTERFACE IMPORTED GLOBAL)
  set_target_properties(flowturbo::${name} PROPERTIES INTERFACE_LINK_LIBRARIES "${default}")
  set(FLOWTURBO_TARGETS ${made} PARENT_SCOPE)
endfunction()
