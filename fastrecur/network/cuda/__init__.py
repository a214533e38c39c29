"""Networks on the GPU. Imported by whatever asks for ``device="cuda"``, not before."""
