# SPDX-License-Identifier: BSD-3-Clause
# Small helpers for targets made from whatever files a folder has.

# muse_glob(RET FOLDER...): all C files below the folders. New files are noticed by the next build.
function(muse_glob ret)
  set(files)
  foreach(folder IN LISTS ARGN)
    file(GLOB_RECURSE found CONFIGURE_DEPENDS LIST_DIRECTORIES false ${CMAKE_SOURCE_DIR}/${folder}/*.c)
    list(APPEND files ${found})
  endforeach()
  set(${ret} ${files} PARENT_SCOPE)
endfunction()

# muse_static(NAME SOURCES ... LINKS ...): a static library with our flags; LINKS are public. Without
# sources it only passes its links on.
function(muse_static name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LINKS")
  if(arg_SOURCES)
    add_library(${name} STATIC ${arg_SOURCES})
    target_link_libraries(${name} PUBLIC ${arg_LINKS} PRIVATE muse_flags)
    target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE ${arg_LINKS})
  endif()
endfunction()

# muse_program(NAME SOURCES ... LINKS ...): an installed executable with our flags. Without sources: nothing.
function(muse_program name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LINKS")
  if(arg_SOURCES)
    add_executable(${name} ${arg_SOURCES})
    target_link_libraries(${name} PRIVATE muse_flags ${arg_LINKS})
    install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endfunction()

# muse_shared(NAME FOLDER DESCRIPTION SOURCES ... LINKS ...): an installed library with public headers in
# FOLDER/include, exported symbols by FOLDER/libNAME.map (else muse_*), and NAME.pc. NAME-static has the same objects,
# for tests of what is not exported. Without sources: nothing.
function(muse_shared name folder description)
  cmake_parse_arguments(PARSE_ARGV 3 arg "" "" "SOURCES;LINKS")
  set(public ${CMAKE_SOURCE_DIR}/${folder}/include)
  set(map ${CMAKE_SOURCE_DIR}/${folder}/lib${name}.map)
  if(NOT arg_SOURCES)
    return()
  endif()
  if(NOT EXISTS ${map})
    set(map ${CMAKE_SOURCE_DIR}/cmake/default.map)
  endif()

  add_library(${name}-objects OBJECT ${arg_SOURCES})
  target_link_libraries(${name}-objects PUBLIC muse_flags ${arg_LINKS})
  target_include_directories(${name}-objects PUBLIC ${public})
  # The public headers carry no attributes; the map alone says what is seen. The static libraries that go
  # in are compiled hidden, so nothing of theirs is seen whatever the map says.
  set_target_properties(${name}-objects PROPERTIES C_VISIBILITY_PRESET default)

  add_library(${name}-static STATIC EXCLUDE_FROM_ALL $<TARGET_OBJECTS:${name}-objects>)
  target_link_libraries(${name}-static PUBLIC ${arg_LINKS})
  target_include_directories(${name}-static PUBLIC ${public})

  add_library(${name} SHARED $<TARGET_OBJECTS:${name}-objects>)
  set_target_properties(${name} PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 0)
  target_link_libraries(${name} PRIVATE ${arg_LINKS})
  target_include_directories(${name} PUBLIC ${public})
  target_link_options(${name} PRIVATE -Wl,--version-script=${map})
  set_target_properties(${name} PROPERTIES LINK_DEPENDS ${map})

  install(TARGETS ${name} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(DIRECTORY ${public}/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
  set(PC_NAME ${name})
  set(PC_DESCRIPTION ${description})
  # Relative, so that "cmake --install --prefix" gives a file that is right where it lies.
  file(RELATIVE_PATH PC_TO_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
  configure_file(${CMAKE_SOURCE_DIR}/cmake/library.pc.in ${CMAKE_CURRENT_BINARY_DIR}/${name}.pc @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()

# muse_split_mains(RET_MAINS RET_REST FILE...): tells files that define main() from those that do not.
function(muse_split_mains ret_mains ret_rest)
  set(mains)
  set(rest)
  foreach(file IN LISTS ARGN)
    file(STRINGS ${file} line REGEX "^(int main\\(|MUSE_DRIVER_MAIN)" LIMIT_COUNT 1)
    if(line)
      list(APPEND mains ${file})
    else()
      list(APPEND rest ${file})
    endif()
  endforeach()
  set(${ret_mains} ${mains} PARENT_SCOPE)
  set(${ret_rest} ${rest} PARENT_SCOPE)
endfunction()

# What a driver links besides the SDK: driver_links_NAME.
set(driver_links_bar PkgConfig::ZLIB)
set(driver_links_cramfs PkgConfig::ZLIB)
set(driver_links_file PkgConfig::URING)
set(driver_links_faulty muse_proto_gen)
set(driver_links_http PkgConfig::CURL)
set(driver_links_nbd PkgConfig::NBD)
