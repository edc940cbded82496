"""Which names a model can have: its name begins every file and every symbol."""

from __future__ import annotations

import functools
import re

from .emit import RUNTIME, TEMPLATES
from .errors import CompileError

LONGEST = 64

# Goals of the makefile, and folders beside the files.
_TAKEN = "all clean install network tool"
# Headers of C, POSIX and compilers, which a program that is given -I with the output folder would miss.
_HEADERS = """
    aio alloca arm_neon assert byteswap cblas cet complex cpio cpuid ctype cuda dirent dlfcn endian errno fcntl
    features fenv fftw3 float fnmatch ftw getopt glob grp iconv immintrin inttypes iso646 langinfo libgen limits locale
    malloc math memory monetary mqueue ndbm netdb nl_types obstack poll pthread pwd regex sched search semaphore setjmp
    signal spawn stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string strings syslog tar
    termios tgmath threads time trace uchar ulimit unistd utime values wchar wctype wordexp
"""
# Macros that C compilers define for a machine, and the words of C and C++, of which some are macros of a header.
_MACROS = "arm hpux i386 linux m68k mips near far sparc sun unix vax"
# NAME.hpp has a namespace of that name.
_WORDS = """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl concept const consteval
    constexpr constinit const_cast continue co_await co_return co_yield decltype default delete do double
    dynamic_cast else enum explicit export extern false float for friend goto if inline int long mutable namespace
    new noexcept not not_eq nullptr operator or or_eq posix private protected public register reinterpret_cast
    requires return short signed sizeof static static_assert static_cast std struct switch template this
    thread_local throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t while
    xor xor_eq
"""
# Libraries that linkers are asked for by name: libNAME.a.
_LIBRARIES = "c dl gcc m openblas rt util"
# A C library's NAME_init and the like, as the object's functions would be called.
_FUNCTIONS = """
    aio cnd fanotify inet6_opt inet6_option inet6_rth inotify mtx posix_spawn_file_actions posix_spawnattr pthread_attr
    pthread_barrier pthread_barrierattr pthread_cond pthread_condattr pthread_mutex pthread_mutexattr pthread_rwlock
    pthread_rwlockattr pthread_spin sem svcerr
"""

_RESERVED = {
    **dict.fromkeys(_TAKEN.split(), "a folder of the output, or a goal of its makefile"),
    **dict.fromkeys(_HEADERS.split(), "a header that the C library or the compiler has"),
    **dict.fromkeys(_MACROS.split(), "a macro of C compilers"),
    **dict.fromkeys(_WORDS.split(), "a word of C++, in which NAME is a namespace"),
    **dict.fromkeys(_LIBRARIES.split(), "a library of the system"),
    **dict.fromkeys(_FUNCTIONS.split(), "how functions of the C library begin"),
}


def check_name(name: str) -> str:
    """The name; raises CompileError unless everything can be called so."""
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) or len(name) > LONGEST:
        raise CompileError(
            f"--name {name}: must be a C identifier, as it begins every symbol, of {LONGEST} letters at most"
        )
    if name.startswith("_"):
        raise CompileError(f"--name {name}: C keeps names that begin with _ for itself")
    reason = _RESERVED.get(name)
    if reason is None and name in _clashes():
        reason = f"how {_clashes()[name]} of the sources begins"
    if reason is not None:
        raise CompileError(f"--name {name}: is taken, by {reason}: choose another, such as {name}_model")
    return name


@functools.cache
def _clashes() -> dict[str, str]:
    """The names that would turn an identifier of the sources into another one that they have, and that one."""
    words: set[str] = set()
    for source in sorted((*TEMPLATES.rglob("*.*"), *RUNTIME.rglob("*.*"))):
        if source.suffix in (".c", ".h", ".hpp", ".S", ".cu", ".cuh"):
            text = re.sub(
                r"/\*.*?\*/|^ *//%.*$|\$\{.*?\}|\"[^\"\n]*\"", " ", source.read_text(), flags=re.DOTALL | re.M
            )
            words.update(re.findall(r"[A-Za-z_]\w*", text))
    renamed = {word[len("vocosc") :] for word in words if word[:7].lower() == "vocosc_" and len(word) > 7}
    others = {word for word in words if "vocosc" not in word.lower()}
    found: dict[str, str] = {}
    for other in sorted(others):
        for at, letter in enumerate(other):
            if letter == "_" and at > 0 and other[at:] in renamed:
                # In capitals it is the prefix of macros, whatever the name's own letters are
                found.setdefault(other[:at], other)
                found.setdefault(other[:at].lower(), other)
    return found
