"""An output folder may come from anybody: whatever its files say, `report` reads or refuses them."""

import json
import shutil

import numpy as np
import xarray as xr
from hypothesis import strategies as st

from bathymetry.core.identity import canonical, digest
from bathymetry.report.publishing import publish
from bathymetry.store.results import read_results, write_results
from safety.fuzzing import CASES
from safety.test_stored_files import changed


@st.composite
def folders(draw, made):
    """Changes of the files in an output folder that `report` reads: file → content."""
    study = made / "depth-function"
    contents = {}
    for _ in range(draw(st.integers(1, 2))):
        kind = draw(st.sampled_from(["page", "attributes", "claims", "provenance", "marker", "variables"]))
        if kind == "page":
            content = draw(changed(json.loads((study / "page.json").read_text())["content"]))
            whole = {"digest": _digest(content), "content": content}
            contents["depth-function/page.json"] = draw(st.just(whole) | changed(whole))
        elif kind == "attributes":
            attributes = draw(changed(read_results(study / "result.nc").attrs))
            contents["attributes"] = {name: one for name, one in attributes.items() if name and "\0" not in name}
        elif kind == "variables":
            contents["variables"] = draw(st.sampled_from(["drop", "rename", "scalar", "text", "nan", "empty", "big"]))
        else:
            name = {"claims": "claims.json", "provenance": "provenance.json", "marker": "bathymetry.json"}[kind]
            contents[name] = draw(changed([json.loads((made / name).read_text())]))[:1]
    remove = draw(st.sampled_from([None, None, "depth-function/page.json", "depth-function/result.nc"]))
    return contents, remove


def _digest(content):
    try:
        return digest(canonical(content))
    except ValueError:  # NaN
        return ""


def _with_variables(tree, how):
    main = tree["main"].to_dataset()
    loss = main["loss"]
    match how:
        case "drop":
            main = main.drop_vars("loss")
        case "rename":
            main = main.rename(loss="other")
        case "scalar":
            main = main.isel(epoch=0, drop=True)
        case "text":
            main["loss"] = xr.full_like(loss, 0).astype(str)
        case "nan":
            main["loss"] = loss * np.nan
        case "empty":
            main = main.isel(member=slice(0))
        case "big":
            main["loss"] = xr.full_like(loss, 1e308)
    tree["main"] = xr.DataTree(main)
    return tree


def test_a_received_folder(fuzz, made, tmp_path, undrawn):
    """Page, claims, provenance and results in a received folder say anything; `report` reads it."""

    out = tmp_path / "out"

    def arrange(case):
        contents, remove = dict(case[0]), case[1]
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(made, out)
        if "attributes" in contents or "variables" in contents:
            tree = read_results(out / "depth-function" / "result.nc")
            tree.attrs = contents.pop("attributes", tree.attrs)
            write_results(out / "depth-function" / "result.nc", _with_variables(tree, contents.pop("variables", "")))
        for name, content in contents.items():
            (out / name).write_text(json.dumps(content))
        if remove:
            (out / remove).unlink()

    fuzz(folders(made), lambda _: publish(out), arrange=arrange, writes=tmp_path, most=max(5, CASES // 5))
