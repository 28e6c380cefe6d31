"""Parses a layer with BitBake, and prints the result.

    bitbake.py task LAYER WORK TYPE NAME=VALUE...   the shell script of the task that makes an image
    bitbake.py recipe LAYER WORK RECIPE VARIABLE... variables of a recipe, one per line

WORK contains an image recipe image.bb, and stubs for the classes of OpenEmbedded-Core or Isar.
"""

import io
import sys
import types

# The package lacks the hash server, which the parser does not need.
for name in ("hashserv", "hashserv.client"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["hashserv"].client = sys.modules["hashserv.client"]

import bb.data  # noqa: E402
import bb.data_smart  # noqa: E402
import bb.event  # noqa: E402
import bb.fetch2  # noqa: E402
import bb.parse  # noqa: E402
import bb.siggen  # noqa: E402


def configuration(layer, work, settings):
    """Returns BitBake's configuration before it parses a recipe."""
    d = bb.data_smart.DataSmart()
    d.setVar("BBPATH", work)
    d.setVar("TOPDIR", work)
    d.setVar("DL_DIR", work)
    d.setVar("OVERRIDES", "")
    for setting in settings:
        name, value = setting.split("=", 1)
        d.setVar(name, value)
    d.setVar("LAYERDIR", layer)
    d = bb.parse.handle(layer + "/conf/layer.conf", d)
    d.expandVarref("LAYERDIR")
    d.delVar("LAYERDIR")
    bb.parse.init_parser(d)
    return d


def parse(recipe, d):
    d.setVar("__bbclasstype", "recipe")
    return bb.parse.handle(recipe, d)[""]


def task(layer, work, image_type, settings):
    """Prints the task of a base type with the conversions in the type, as image.bbclass builds it."""
    d = parse(work + "/image.bb", configuration(layer, work, settings))
    conversions = (d.getVar("CONVERSIONTYPES") or d.getVar("IMAGE_CONVERSIONS")).split()
    base, *steps = image_type.split(".")
    local = bb.data.createCopy(d)
    local.setVar("OVERRIDES", base + ":" + d.getVar("OVERRIDES", False))
    local.setVar("type", base)
    commands = [local.getVar("IMAGE_CMD"), local.expand("\tcd ${IMGDEPLOYDIR}")]
    for step in steps:
        assert step in conversions, conversions
        commands.append("\t" + local.getVar("CONVERSION_CMD:" + step))
        local.setVar("type", local.getVar("type") + "." + step)
    d.setVar("do_image", "\n".join(commands))
    d.setVarFlag("do_image", "func", "1")
    script = io.StringIO()
    bb.data.emit_func("do_image", script, d)
    print("set -e\n" + script.getvalue() + "\ndo_image")


# Variables that bitbake.conf derives from the name of a recipe.
FROM_NAME = [
    "PN=${@bb.parse.vars_from_file(d.getVar('FILE', False), d)[0]}",
    "PV=${@bb.parse.vars_from_file(d.getVar('FILE', False), d)[1]}",
    "BPN=ext4-canon",
    "THISDIR=${@os.path.dirname(d.getVar('FILE', False))}",
]


def recipe(layer, work, file, variables):
    d = parse(file, configuration(layer, work, FROM_NAME))
    if "CRATES" in variables:
        # Each URI has a fetcher and a checksum.
        for uri in d.getVar("SRC_URI").split():
            found = bb.fetch2.FetchData(uri, d)
            print("crate", found.method.__class__.__name__, found.parm["name"], found.sha256_expected)
        variables.remove("CRATES")
    for variable in variables:
        print(variable, " ".join((d.getVar(variable) or "").split()))


if __name__ == "__main__":
    mode, layer, work, what, *rest = sys.argv[1:]
    {"task": task, "recipe": recipe}[mode](layer, work, what, rest)
