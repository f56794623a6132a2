# SPDX-License-Identifier: BSD-3-Clause
# muse_proto_gen: C code made by protoc-c from every proto/*.proto, compiled without our warnings and seen
# by others as system headers, "proto/NAME.pb-c.h".

find_program(PROTOC_C protoc-c REQUIRED)
file(GLOB proto_files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/proto/*.proto)

set(proto_dir ${CMAKE_BINARY_DIR}/generated)
set(proto_made)
foreach(file IN LISTS proto_files)
  cmake_path(GET file STEM name)
  set(made ${proto_dir}/proto/${name}.pb-c.c ${proto_dir}/proto/${name}.pb-c.h)
  add_custom_command(
    OUTPUT ${made}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${proto_dir}
    COMMAND ${PROTOC_C} --proto_path=${CMAKE_SOURCE_DIR} --c_out=${proto_dir} proto/${name}.proto
    DEPENDS ${proto_files} # they may import each other
    COMMENT "protoc-c proto/${name}.proto"
    VERBATIM)
  list(APPEND proto_made ${made})
endforeach()

add_library(muse_proto_gen STATIC ${proto_made})
target_compile_options(muse_proto_gen PRIVATE -w)
target_include_directories(muse_proto_gen SYSTEM PUBLIC ${proto_dir})
target_link_libraries(muse_proto_gen PUBLIC PkgConfig::PROTOBUF_C)
