"""Find the same neuron in two microscopes.

Importing this package is cheap on purpose: neither torch nor Qt is loaded until a
function that needs them is called.
"""

__version__ = "0.1.0"
