"""Importing a plugin must be cheap: the web process imports them all."""

import pkgutil
import subprocess
import sys

import plugins


def test_importing_every_plugin_imports_no_heavy_library() -> None:
    names = [module.name for module in pkgutil.walk_packages(plugins.__path__, "plugins.") if not module.ispkg]
    assert "plugins.encoders.minilm" in names
    heavy = "{'torch', 'transformers', 'sklearn', 'sentence_transformers', 'tokenizers', 'scipy'}"
    code = f"import sys, {', '.join(names)}\nassert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_predicting_imports_no_torch() -> None:
    code = (
        "import sys, numpy as np\nfrom plugins.learners.logistic import Logistic\n"
        "t = {'weight': np.ones((3, 2), 'f4'), 'bias': np.zeros(2, 'f4'), 'temperature': np.ones(1, 'f4'),"
        " 'multiple': np.array([False])}\n"
        "assert Logistic().predict(t, np.ones((4, 3), 'f4')).shape == (4, 2)\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
