"""What `torch.hub.load` finds here: a model of landmark_nb by its file.

model = torch.hub.load("OWNER/REPO", "landmark_nb", weights="https://.../best.safetensors")
model = torch.hub.load("CHECKOUT", "landmark_nb", source="local", weights="runs/mine/best.safetensors")
"""

dependencies = ["torch", "torchvision", "timm", "numpy", "safetensors", "huggingface_hub"]


def embedder(
    weights: str,  # FILE.safetensors, its address (https://...), a folder, or NAME:FILE of a published model
    size: int = 0,  # pixels of square images that it is built for; 0: as its file says
):  # landmark_nb.models.embed.Embedder, in evaluation mode
    """Images float [b, 3, h, w] in [0, 1] become descriptors [b, dim] of unit length.

    A folder is one that `save_pretrained` wrote, or OWNER/NAME on Hugging Face's hub; an address must end in
    .safetensors. Nothing that is read is executed. Raises `ValueError`, `FileNotFoundError` or `RuntimeError`
    that name what is wrong.
    """
    from landmark_nb.models.embed import model_from

    model = model_from(weights)
    if size:
        model.resize(size)
    return model


landmark_nb = embedder  # the entry by the project's name
