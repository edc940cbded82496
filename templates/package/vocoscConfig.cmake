# find_package(vocosc): in the folder that the compiler wrote, or where `make -f vocosc.mk install` puts it. Targets:
#
#   vocosc::vocosc  the static library and its header
#   vocosc::shared  libvocosc.so, where it has been built: make -f vocosc.mk libvocosc.so
#   vocosc::header  the header alone, for who brings the library another way
#   vocosc::team    vocosc_team_pthread: a team of POSIX threads, compiled as part of what links it
#
# vocosc_WEIGHTS is the file of the weights where they are not in the library, else empty.

if(EXISTS "${CMAKE_CURRENT_LIST_DIR}/vocosc.h")
  set(_vocosc_include "${CMAKE_CURRENT_LIST_DIR}")
  set(_vocosc_lib "${CMAKE_CURRENT_LIST_DIR}")
  set(_vocosc_share "${CMAKE_CURRENT_LIST_DIR}")
else()
  get_filename_component(_vocosc_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
  set(_vocosc_include "${_vocosc_prefix}/include")
  set(_vocosc_lib "${_vocosc_prefix}/lib")
  set(_vocosc_share "${_vocosc_prefix}/share/vocosc")
endif()

if(NOT EXISTS "${_vocosc_lib}/libvocosc.a")
  set(vocosc_FOUND FALSE)
  set(vocosc_NOT_FOUND_MESSAGE "${_vocosc_lib}/libvocosc.a is not there: build it, make -f vocosc.mk libvocosc.a")
  return()
endif()

if(NOT TARGET vocosc::vocosc)
  add_library(vocosc::header INTERFACE IMPORTED)
  set_target_properties(vocosc::header PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${_vocosc_include}")

  add_library(vocosc::vocosc STATIC IMPORTED)
  set_target_properties(vocosc::vocosc PROPERTIES
    IMPORTED_LOCATION "${_vocosc_lib}/libvocosc.a"
    INTERFACE_INCLUDE_DIRECTORIES "${_vocosc_include}"
    INTERFACE_LINK_LIBRARIES "@cmake_libraries@")

  if(EXISTS "${_vocosc_lib}/libvocosc.so")
    add_library(vocosc::shared SHARED IMPORTED)
    set_target_properties(vocosc::shared PROPERTIES
      IMPORTED_LOCATION "${_vocosc_lib}/libvocosc.so"
      IMPORTED_SONAME "libvocosc.so"
      INTERFACE_INCLUDE_DIRECTORIES "${_vocosc_include}")
  endif()

  add_library(vocosc::team INTERFACE IMPORTED)
  set_target_properties(vocosc::team PROPERTIES
    INTERFACE_SOURCES "${_vocosc_share}/vocosc_team_pthread.c"
    INTERFACE_INCLUDE_DIRECTORIES "${_vocosc_share};${_vocosc_include}"
    INTERFACE_LINK_LIBRARIES "pthread")
endif()

set(vocosc_WEIGHTS "")
if(EXISTS "${_vocosc_share}/vocosc_weights.bin")
  set(vocosc_WEIGHTS "${_vocosc_share}/vocosc_weights.bin")
endif()
