# Read by CMake after every project() call of llama-cpp-python (CMAKE_PROJECT_INCLUDE): what we
# build of llama.cpp, and what we leave out. Cache entries yield to the user's own CMAKE_ARGS.

# For the processor of this machine. Stated, because SOURCE_DATE_EPOCH turns the default off.
set(GGML_NATIVE ON CACHE BOOL "")

# Text only.
set(LLAVA_BUILD OFF CACHE BOOL "")

# The Python bindings load libllama and libggml, nothing else. Their CMakeLists.txt forces the
# command line tools' common library on in the cache; a plain variable is what option() obeys.
set(LLAMA_BUILD_COMMON OFF)

# llama.cpp installs its libraries once more beside the bindings' own copies, in the root of
# site-packages; in one place they are installed once.
set(CMAKE_INSTALL_BINDIR llama_cpp/lib CACHE PATH "")
set(CMAKE_INSTALL_LIBDIR llama_cpp/lib CACHE PATH "")
set(CMAKE_INSTALL_INCLUDEDIR llama_cpp/include CACHE PATH "")

# See llama_amx.h. Deferred, because the file's target does not exist yet.
set(LLAMA_AMX_HEADER "${CMAKE_CURRENT_LIST_DIR}/llama_amx.h")
if(PROJECT_NAME STREQUAL "ggml" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  cmake_language(DEFER CALL set_source_files_properties
    "${CMAKE_CURRENT_SOURCE_DIR}/src/ggml-cpu/amx/mmq.cpp" TARGET_DIRECTORY ggml-cpu
    PROPERTIES COMPILE_OPTIONS "-include;${LLAMA_AMX_HEADER}")
endif()
