"""Parts that several systems share: inputs, towers, poolings, fusions of modalities."""
