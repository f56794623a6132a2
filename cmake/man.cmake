# SPDX-License-Identifier: BSD-3-Clause
# Manual pages: every NAME.SECTION.scd beside the code becomes ${CMAKE_BINARY_DIR}/man/NAME.SECTION. Page
# names are unique in the project.

find_program(SCDOC scdoc REQUIRED)
file(GLOB_RECURSE man_sources CONFIGURE_DEPENDS
  ${CMAKE_SOURCE_DIR}/cli/*.scd ${CMAKE_SOURCE_DIR}/client-lib/*.scd ${CMAKE_SOURCE_DIR}/docs/*.scd
  ${CMAKE_SOURCE_DIR}/drivers/*.scd ${CMAKE_SOURCE_DIR}/kit/*.scd ${CMAKE_SOURCE_DIR}/proto/*.scd ${CMAKE_SOURCE_DIR}/server/*.scd)

set(man_pages)
foreach(source IN LISTS man_sources)
  cmake_path(GET source STEM LAST_ONLY page)
  string(REGEX MATCH "[0-9]$" section ${page})
  if(NOT section)
    message(FATAL_ERROR "${source}: not named NAME.SECTION.scd")
  endif()
  set(made ${CMAKE_BINARY_DIR}/man/${page})
  add_custom_command(
    OUTPUT ${made}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/man
    COMMAND ${SCDOC} <${source} >${made}.new
    COMMAND ${CMAKE_COMMAND} -E rename ${made}.new ${made}
    DEPENDS ${source}
    COMMENT "scdoc ${page}")
  list(APPEND man_pages ${made})
  install(FILES ${made} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endforeach()
add_custom_target(man ALL DEPENDS ${man_pages})
