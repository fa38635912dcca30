"""In all tests, every shape that a signature of the network states is checked at every call."""

from jaxtyping import install_import_hook

# not the Triton kernels, which are no Python to be checked
CHECKED = (
    *("features", "layers", "model", "losses", "discriminator", "inside"),
    *("scan.around", "scan.reference", "scan.parallel", "scan.cpu"),
)
install_import_hook([f"rwsa_tutorial.{name}" for name in CHECKED], "beartype.beartype")
