"""Images without a registry: docker archives of one layer, which containerd and podman read."""
import hashlib
import io
import json
import os
import tarfile


def _add(archive, name, data, mode=0o644):
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    archive.addfile(entry, io.BytesIO(data))


def _write(file, tag, layer, entrypoint, arguments):
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "config": {"Entrypoint": [entrypoint], "Cmd": list(arguments)},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
    }).encode()  # fmt: skip
    manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]
    with tarfile.open(file, "w") as archive:
        _add(archive, "layer.tar", layer)
        _add(archive, "config.json", config)
        _add(archive, "manifest.json", json.dumps(manifest).encode())


def write_image(file, tag, program, arguments):
    """With one program."""
    layer, name = io.BytesIO(), os.path.basename(program)
    with open(program, "rb") as source, tarfile.open(fileobj=layer, mode="w") as archive:
        _add(archive, name, source.read(), 0o755)
    _write(file, tag, layer.getvalue(), "/" + name, arguments)


def write_folder_image(file, tag, root, entrypoint):
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        archive.add(root, arcname=".")
    _write(file, tag, layer.getvalue(), entrypoint, [])
