"""The predecessor's import names, served by ours: `import engine.compat; engine.compat.install()`, then `import deepsparse`.

names      which of its modules and names lead where, and what stands in for those that do not
modules    modules that look names up when they are asked for
helpers    the few functions that exist for its sake only
"""

from engine.compat.modules import NotServedError, NotServedNameError, install, uninstall

__all__ = ["NotServedError", "NotServedNameError", "install", "uninstall"]
