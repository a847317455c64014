"""The compilation of callees, which only become part of kernels.

Numba optimizes each function that it compiles, and makes machine code of it. A callee is never
called by itself: LLVM optimizes it with its kernel, and its own machine code would be thrown away,
at the cost of a third of the time that a kernel takes. These classes leave it out. They rely on
names of Numba that are not public: versions after `KNOWN`, or without one of them, compile callees
as always.
"""

from typing import Any

from numba import version_info

from .vector_loops import WIDE

KNOWN = 0, 68  # the last version of Numba with which this is tested

try:
    if version_info[:2] > KNOWN:
        raise ImportError("an untested version of Numba")
    from numba._dynfunc import make_function
    from numba.core.codegen import JITCodeLibrary
    from numba.core.compiler import Compiler
    from numba.core.compiler_machinery import LoweringPass, register_pass
    from numba.core.typed_passes import NativeLowering, NopythonRewrites
except ImportError:
    JITCodeLibrary = None


if JITCodeLibrary is None:
    OF_KERNELS: dict[str, Any] = {}
    OF_CALLEES: dict[str, Any] = {}
else:

    class Inlining(JITCodeLibrary):  # type: ignore[misc]
        """A module into whose functions others are inlined, before LLVM vectorizes their loops.

        Functions take over the width of vectors that those want.
        """

        wide = False

        def add_ir_module(self, module: Any) -> None:
            inner = any(getattr(library, "wide", False) for library in self._linking_libraries)
            self.wide |= inner or any(WIDE in each.attributes for each in module.functions)
            if inner:
                for function in module.functions:
                    set.add(function.attributes, WIDE)  # llvmlite's own `add` knows few names
            super().add_ir_module(module)

    class Part(Inlining):
        """The module of a callee and of its own callees, for kernels to link."""

        def _optimize_functions(self, module: Any) -> None:
            module.data_layout = self._codegen._data_layout

        def _optimize_final_module(self) -> None:
            """Leave it to the kernel."""

        def _finalize_final_module(self) -> None:
            self._finalize_dynamic_globals()
            self._finalized = True

    @register_pass(mutates_CFG=False, analysis_only=True)
    class Registered(LoweringPass):  # type: ignore[misc]
        """Registers a callee, of which there is no machine code, so that others may call it."""

        _name = "fastadam_registered"

        def __init__(self) -> None:
            LoweringPass.__init__(self)

        def run_pass(self, state: Any) -> bool:
            about, library = state.cr.fndesc, state.library
            name = about.qualname.rsplit(".", 1)[-1]
            key = make_function(about.lookup_module(), name, "", 0, state.cr.env, (library,))
            state.targetctx.insert_user_function(key, about, [library])
            state.cr = state.cr._replace(cfunc=key)
            return False

    class KernelCompiler(Compiler):  # type: ignore[misc]
        """Numba's compiler, for a kernel with such callees."""

        def define_pipelines(self) -> list[Any]:
            state = self.state
            state.library = Inlining(state.targetctx.codegen(), state.func_id.func_qualname)
            state.library.enable_object_caching()
            passes: list[Any] = super().define_pipelines()
            return passes

    class CalleeCompiler(Compiler):  # type: ignore[misc]
        """Numba's compiler, without machine code."""

        def define_pipelines(self) -> list[Any]:
            state = self.state
            state.flags.no_compile = True
            state.library = Part(state.targetctx.codegen(), state.func_id.func_qualname)
            (passes,) = super().define_pipelines()
            passes.passes = [each for each in passes.passes if each[0] is not NopythonRewrites]
            passes.add_pass_after(Registered, NativeLowering)
            passes.finalize()
            return [passes]

    OF_KERNELS = {"pipeline_class": KernelCompiler}
    OF_CALLEES = {"pipeline_class": CalleeCompiler}
