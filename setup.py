"""Puts what stands beside the package into the wheel as well: tasks.py, environments/ and runbooks/, in prompt_keda/shipped/.

pyproject.toml says all else; `prompt_keda.core.places` finds them in a clone and in a wheel.
"""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["prompt_keda", "prompt_keda.*"]),
        "prompt_keda.shipped.environments",
        "prompt_keda.shipped.runbooks",
    ],
    py_modules=["prompt_keda.shipped.tasks"],
    package_dir={"prompt_keda.shipped": "."},
    package_data={
        "prompt_keda": [
            "report/templates/*.j2",
            "lab/keda/*.yaml",
            "lab/kind/*.yaml",
            "lab/go/**/*",
            "lab/phalanx_files/**/*",
        ],
        "prompt_keda.shipped.environments": ["**/*"],
        "prompt_keda.shipped.runbooks": ["*.md"],
    },
)
