"""The diffusion transformer of MDLM and BD3LM: its ``config.json``, module, weights and denoiser."""
