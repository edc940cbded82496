# vocosc_add_model(TARGET CHECKPOINT [OPTIONS ...]): compiles a checkpoint as a step of the build.
#
# TARGET becomes a static library to link, and the prefix of its header and symbols; so it is a C identifier. CHECKPOINT,
# and files among the options of the compiler (generated/README.md lists them), are relative to the current source
# folder. The step is done again when the checkpoint, one of these files, an option or the compiler itself changes.
#
#   vocosc_add_model(speech speech.ckpt OPTIONS --chunk 1,5 --precision w8)
#   target_link_libraries(program PRIVATE speech)
#
# A cross build is compiled by the project's own C compiler, in plain C unless the options name a --target.
# VOCOSC_PYTHON is the Python that runs the compiler; without one that has its packages, an environment is made.

set(VOCOSC_PYTHON "" CACHE FILEPATH "Python with vocosc's packages (numpy, jinja2, safetensors, clang-format)")
get_filename_component(_vocosc_source "${CMAKE_CURRENT_LIST_DIR}/.." ABSOLUTE)
set_property(GLOBAL PROPERTY VOCOSC_SOURCE "${_vocosc_source}")

function(_vocosc_has_packages python result)
  execute_process(
    COMMAND "${python}" -c "import sys, clang_format, jinja2, numpy, safetensors; sys.exit(sys.version_info < (3, 11))"
    RESULT_VARIABLE code OUTPUT_QUIET ERROR_QUIET)
  if(code EQUAL 0)
    set(${result} TRUE PARENT_SCOPE)
  else()
    set(${result} FALSE PARENT_SCOPE)
  endif()
endfunction()

# Finds a Python for the compiler, or makes it an environment in the build folder; remembers it in VOCOSC_PYTHON.
function(_vocosc_find_python source)
  if(VOCOSC_PYTHON)
    return()
  endif()
  find_program(_vocosc_python3 NAMES python3 python)
  foreach(candidate "${source}/.venv/bin/python" "${_vocosc_python3}")
    _vocosc_has_packages("${candidate}" found)
    if(found)
      set(VOCOSC_PYTHON "${candidate}" CACHE FILEPATH "" FORCE)
      return()
    endif()
  endforeach()
  set(environment "${CMAKE_BINARY_DIR}/vocosc-python")
  message(STATUS "vocosc: making an environment for the compiler in ${environment}")
  foreach(command "${_vocosc_python3} -m venv ${environment}" "${environment}/bin/python -m pip install -q ${source}")
    separate_arguments(command UNIX_COMMAND "${command}")
    execute_process(COMMAND ${command} RESULT_VARIABLE code ERROR_VARIABLE text OUTPUT_QUIET)
    if(NOT code EQUAL 0)
      message(FATAL_ERROR "vocosc: no Python for the compiler; set VOCOSC_PYTHON. ${text}")
    endif()
  endforeach()
  set(VOCOSC_PYTHON "${environment}/bin/python" CACHE FILEPATH "" FORCE)
endfunction()

function(vocosc_add_model target checkpoint)
  cmake_parse_arguments(PARSE_ARGV 2 model "" "" "OPTIONS")
  if(model_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "vocosc_add_model: what is ${model_UNPARSED_ARGUMENTS}? Give options of the compiler after OPTIONS.")
  endif()
  if(NOT target MATCHES "^[A-Za-z_][A-Za-z0-9_]*$")
    message(FATAL_ERROR "vocosc_add_model: ${target} is no C identifier, and it begins every symbol.")
  endif()
  get_filename_component(checkpoint "${checkpoint}" ABSOLUTE BASE_DIR "${CMAKE_CURRENT_SOURCE_DIR}")
  if(NOT EXISTS "${checkpoint}")
    message(FATAL_ERROR "vocosc_add_model: there is no ${checkpoint}.")
  endif()
  get_property(source GLOBAL PROPERTY VOCOSC_SOURCE)
  _vocosc_find_python("${source}")
  set(output "${CMAKE_CURRENT_BINARY_DIR}/vocosc/${target}")
  set(library "${output}/lib${target}.a")

  # What the step depends on: the checkpoint, which may be a folder; files among the options; the options; the compiler.
  set(inputs "${checkpoint}")
  if(IS_DIRECTORY "${checkpoint}")
    file(GLOB inputs CONFIGURE_DEPENDS "${checkpoint}/*")
  endif()
  foreach(option IN LISTS model_OPTIONS)
    get_filename_component(file "${option}" ABSOLUTE BASE_DIR "${CMAKE_CURRENT_SOURCE_DIR}")
    if(EXISTS "${file}" AND NOT IS_DIRECTORY "${file}")
      list(APPEND inputs "${file}")
    endif()
  endforeach()
  file(GLOB_RECURSE compiler CONFIGURE_DEPENDS
    "${source}/compiler/*.py" "${source}/templates/*" "${source}/runtime/*.[chS]")
  file(MAKE_DIRECTORY "${output}")
  set(options_file "${CMAKE_CURRENT_BINARY_DIR}/vocosc/${target}.options")
  file(GENERATE OUTPUT "${options_file}" CONTENT "${checkpoint};${model_OPTIONS};${CMAKE_C_COMPILER};${CMAKE_C_FLAGS}\n")

  set(build)
  if(CMAKE_CROSSCOMPILING)
    if(NOT "--target" IN_LIST model_OPTIONS)
      list(APPEND model_OPTIONS --target portable)
    endif()
    list(APPEND model_OPTIONS --sources-only)
    set(build COMMAND make -s -C "${output}" -f "${target}.mk" "lib${target}.a" "CC=${CMAKE_C_COMPILER}" "AR=${CMAKE_AR}"
      "OBJCOPY=${CMAKE_OBJCOPY}" "TARGET_CFLAGS=${CMAKE_C_FLAGS}")
  endif()
  add_custom_command(
    OUTPUT "${library}" "${output}/${target}.h"
    BYPRODUCTS "${output}/${target}.json"
    # The compiler runs a make of its own, which is none of this build's jobs.
    COMMAND "${CMAKE_COMMAND}" -E env --unset=MAKEFLAGS --unset=MFLAGS "PYTHONPATH=${source}" PYTHONDONTWRITEBYTECODE=1
      "${VOCOSC_PYTHON}" -m compiler "${checkpoint}" -o "${output}" --name ${target} ${model_OPTIONS}
      > "${output}.log"
    ${build}
    COMMAND "${CMAKE_COMMAND}" -E touch "${library}" "${output}/${target}.h"
    DEPENDS ${inputs} ${compiler} "${options_file}"
    WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
    COMMENT "Compiling ${checkpoint} to lib${target}.a"
    VERBATIM)
  add_custom_target(${target}_model DEPENDS "${library}" "${output}/${target}.h")
  add_library(${target} STATIC IMPORTED GLOBAL)
  set_target_properties(${target} PROPERTIES
    IMPORTED_LOCATION "${library}"
    INTERFACE_INCLUDE_DIRECTORIES "${output}")
  add_dependencies(${target} ${target}_model)
endfunction()
