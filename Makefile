# `make` alone lists what there is. Everything runs in .venv, which `make setup` makes.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export NODE_PATH := $(CURDIR)/.venv/web/node_modules

# The project to work on: the repository itself, or with PRESET=NAME the folder runs/NAME.
FOLDER := $(if $(PRESET),runs/$(PRESET),.)
IN_FOLDER = $(if $(PRESET),python -m Resnet23.project "$(FOLDER)" --preset "$(PRESET)" && cd "$(FOLDER)" &&)

# The converter of TensorFlow.js has an environment of its own.
TFJS := $(CURDIR)/.venv/tfjs/bin

# The pins are complete, so pip need not resolve them again; modules are compiled when they are first imported.
PIP_INSTALL := python -m pip install --disable-pip-version-check --no-deps --no-compile

##@ Start here

.PHONY: help
help:  ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@printf '\nA recipe from presets/ runs in a folder of its own: make repro PRESET=digits works in runs/digits.\n'

.PHONY: setup
setup: .venv/.core-stamp  ## Make .venv and install what the project needs, once
	@echo 'Ready. For commands of your own: source .venv/bin/activate'

.PHONY: demo
demo: .venv/.core-stamp  ## Run the whole pipeline on handwritten digits in demo/ (two minutes, nothing to download)
	@python -m Resnet23.project demo --preset digits
	@cd demo && dvc repro
	@python -m Resnet23.summary demo
	@printf '%s\n' 'Next: make repro runs the same pipeline on CIFAR-10 as params.yaml says.'

.PHONY: quick
quick:  ## Run it on 5,000 photos of CIFAR-10 in runs/quick, with a small network (seven minutes of training on 2 cores)
	@$(MAKE) repro PRESET=quick

.PHONY: doctor
doctor: .venv/.core-stamp  ## Look for what is missing or wrong here, and say how to mend it
	@cd "$(FOLDER)" && python -m Resnet23 doctor

##@ The pipeline (each stage first runs what it depends on)

.PHONY: data
data: .venv/.core-stamp  ## Fetch the images again or look at the source folder again, then build the arrays
	@$(IN_FOLDER) dvc repro --single-item --force datadownload
	@cd "$(FOLDER)" && dvc repro features

.PHONY: features
features: .venv/.core-stamp  ## Build the arrays from the images (FORCE=1: also when nothing seems to have changed)
	@$(IN_FOLDER) dvc repro $(if $(FORCE),datadownload && dvc repro --single-item --force features,features)

.PHONY: train predict plots
train: .venv/.core-stamp  ## Train the network, or go on with an interrupted training (FRESH=1: from the beginning)
predict: .venv/.core-stamp  ## Evaluate it on the test images
plots: .venv/.core-stamp  ## Draw the figures and the report page
train predict plots:
	@$(IN_FOLDER) $(if $(FRESH),$(TRAIN_AFRESH) && )dvc repro $@

# Forced, as DVC sees no reason to train again when only a file of weights has changed.
TRAIN_AFRESH = dvc repro features && RESNET23_FRESH=1 dvc repro --single-item --force train

.PHONY: repro
repro: .venv/.core-stamp  ## Run all stages that are not up to date
	@$(IN_FOLDER) dvc repro
	@python -m Resnet23.summary "$(FOLDER)"

.PHONY: lr-find
lr-find: .venv/.core-stamp  ## Suggest a learning rate: a short training in which it rises, and a figure in reports/extras
	@$(IN_FOLDER) dvc repro features && python -m Resnet23.modeling.lr_find

.PHONY: tensorboard
tensorboard: .venv/.dev-stamp  ## Show trainings in TensorBoard on http://127.0.0.1:6006
	@cd "$(FOLDER)" && { test -d reports/tensorboard || { echo 'make tensorboard: nothing to show yet;' \
		'set tracking.tensorboard to true in params.yaml, then train'; exit 2; }; } && \
		tensorboard --logdir reports/tensorboard --host 127.0.0.1

.PHONY: new
new: .venv/.dev-stamp  ## Make a project of your own, outside, and run it: DIR=../flowers DATA=~/flowers (photos, a folder for each class)
	@python -m Resnet23.new_project "$(DIR)" --data "$(DATA)"$(if $(PRESET), --preset "$(PRESET)")
	@cd "$(patsubst ~%,$(HOME)%,$(DIR))" && dvc repro && python -m Resnet23.summary

##@ Heads on a frozen encoder (docs/heads.md)

.PHONY: encoder
encoder: .venv/.dev-stamp  ## Pre-train a ResNet-10 on the images, in models/encoder, for AutoModel (FRESH=1: from the beginning)
	@$(IN_FOLDER) dvc repro features && python -m Resnet23.classifiers.pretrain $(if $(FRESH),--fresh)

.PHONY: heads
heads: .venv/.dev-stamp  ## Train heads on it, for all classes and each against the rest (TARGET=3: for one; EPOCHS=...)
	@$(IN_FOLDER) dvc repro features && python -m Resnet23.validate \
		$(if $(TARGET),--target_class "$(TARGET)") $(if $(EPOCHS),--epochs $(EPOCHS))

##@ The trained model

.PHONY: export
export: .venv/.dev-stamp  ## Write it in formats of other programs to models/export, each compared with PyTorch (FORMATS=onnx,pt2)
	@$(IN_FOLDER) dvc repro train && python -m Resnet23.export$(if $(FORMATS), --formats "$(FORMATS)") && dvc repro plots

.PHONY: explain
explain: .venv/.dev-stamp  ## Draw what it looked at in its most confident mistakes, in reports/extras (COUNT=20: in so many)
	@$(IN_FOLDER) dvc repro predict && python -m Resnet23.explain$(if $(COUNT), --count "$(COUNT)") && dvc repro plots

.PHONY: card
card: .venv/.dev-stamp  ## Write the model card, in the form of Hugging Face, to reports/extras/MODEL_CARD.md
	@$(IN_FOLDER) dvc repro predict && python -m Resnet23.model_card && dvc repro plots

.PHONY: serve
serve: .venv/.dev-stamp  ## Show a page that classifies the images you drop on it, on http://127.0.0.1:7860 (PORT=8080: another port)
	@$(IN_FOLDER) dvc repro train && python -m Resnet23.serve$(if $(PORT), --port $(PORT))

##@ The Keras pipeline (docs/keras.md)

.PHONY: setup-tensorflow
setup-tensorflow: .venv/.tensorflow-stamp  ## Add TensorFlow and Keras to .venv, once (a minute, 2 GB)
	@echo 'Ready: make demo-keras'

.PHONY: demo-keras
demo-keras:  ## Run the Keras pipeline on handwritten digits in runs/digits (some minutes, nothing to download)
	@$(MAKE) plots-keras PRESET=digits
	@python -m Resnet23.summary runs/digits --keras

.PHONY: train-keras predict-keras plots-keras
train-keras: .venv/.tensorflow-stamp  ## Train the network of pipelines/keras/params.yaml (FRESH=1: from the beginning)
predict-keras: .venv/.tensorflow-stamp  ## Evaluate it on the test images
plots-keras: .venv/.tensorflow-stamp  ## Draw its figures and its report page, in reports/keras
train-keras predict-keras plots-keras:
	@$(IN_FOLDER) $(if $(FRESH),$(TRAIN_KERAS_AFRESH) && )dvc repro $(KERAS_PIPELINE):$(@:-keras=)

KERAS_PIPELINE := pipelines/keras/dvc.yaml
TRAIN_KERAS_AFRESH = dvc repro features && RESNET23_FRESH=1 dvc repro --single-item --force $(KERAS_PIPELINE):train

.PHONY: compare-keras
compare-keras: .venv/.tensorflow-stamp  ## Run both pipelines on the same data and set their results side by side (PRESET=digits)
	@$(IN_FOLDER) dvc repro && dvc repro $(KERAS_PIPELINE) && python -m Resnet23.keras_variant.compare

.PHONY: export-keras export-tfjs browser
export-keras: .venv/.tensorflow-stamp  ## Write its model for phones, servers and browsers to models/export/keras, compared with Keras (FORMATS=onnx)
	@$(IN_FOLDER) dvc repro $(KERAS_PIPELINE):train && python -m Resnet23.keras_variant.export$(if $(FORMATS), \
		--formats "$(FORMATS)") && dvc repro $(KERAS_PIPELINE):plots

export-tfjs: FORMATS ?= saved-model,tflite,tflite-dynamic,tflite-int8,onnx,tfjs
export-tfjs: .venv/.tfjs-stamp .venv/.tensorflow-stamp .venv/.web-stamp  ## The same, and for TensorFlow.js, with its converter in an environment of its own
	@PATH="$$PATH:$(TFJS)" $(MAKE) export-keras FORMATS="$(FORMATS)"

browser: .venv/.tensorflow-stamp .venv/.web-stamp  ## Show a page that classifies images in the browser on http://127.0.0.1:8000 (PORT=8080: on another port)
	@cd "$(FOLDER)" && python -m Resnet23.keras_variant.page
	@echo 'http://127.0.0.1:$(or $(PORT),8000) shows the page until Ctrl-C is pressed'
	@cd "$(FOLDER)" && python -m http.server --bind 127.0.0.1 --directory models/export/keras/page $(or $(PORT),8000)

.PHONY: test-keras test-browser
test-keras: .venv/.tensorflow-stamp  ## Run the tests that need TensorFlow, which shares no process with PyTorch
	@pytest -rs tests/keras_variant

test-browser: .venv/.tfjs-stamp .venv/.tensorflow-stamp .venv/.web-stamp  ## Those of the exports and the page, with TensorFlow.js and in Chromium
	@PATH="$$PATH:$(TFJS)" pytest -rs tests/keras_variant/test_keras_export.py tests/keras_variant/test_keras_browser.py

##@ Tracking and models

.PHONY: mlflow-ui
mlflow-ui: .venv/.core-stamp  ## Show the tracked runs on http://127.0.0.1:5000 (PORT=5050: on another port)
	@cd "$(FOLDER)" && python -m Resnet23.tracking.ui $(if $(PORT),--port $(PORT))

.PHONY: dagshub-init
dagshub-init: .venv/.core-stamp  ## Connect with a repository on DagsHub: OWNER=... REPO=... (CREATE=1 makes it)
	@python -m Resnet23.tracking.dagshub_setup "$(OWNER)" "$(REPO)" $(if $(CREATE),--create)

.PHONY: sync-tracking
sync-tracking: .venv/.core-stamp  ## Send to the remote the tracked runs that it does not have yet
	@cd "$(FOLDER)" && python -m Resnet23.tracking.sync

.PHONY: promote
promote: .venv/.core-stamp  ## Make the trained model the champion if it beats the present one on the test images
	@cd "$(FOLDER)" && python -m Resnet23.promote

.PHONY: serve-rest
serve-rest: .venv/.core-stamp  ## Serve the champion, or the newest model, over HTTP on 127.0.0.1:5001 (PORT=...: another port)
	@cd "$(FOLDER)" && python -m Resnet23.tracking.serving $(if $(PORT),--port $(PORT))

##@ Studies (docs/studies.md)

.PHONY: study studies study-worker
study: .venv/.dev-stamp  ## Run a study, or go on with it: NAME=learning-rate SCALE=smoke (or small, full); no NAME lists them
	@python -m Resnet23.studies $(if $(NAME),"$(NAME)" --scale "$(SCALE)") $(STUDY_OPTIONS)

studies: .venv/.dev-stamp  ## Run all studies one after the other (SCALE=small, full)
	@$(if $(NAME),echo 'make studies: runs them all; for one: make study NAME=$(NAME)'; exit 2)
	@python -m Resnet23.studies all --scale "$(SCALE)" $(STUDY_OPTIONS)

study-worker: .venv/.dev-stamp  ## Help with a study that is running: NAME=... SCALE=... (STORAGE=postgresql://...: from elsewhere)
	@$(if $(NAME),,echo 'make study-worker: NAME is missing, as in NAME=learning-rate'; exit 2)
	@python -m Resnet23.studies "$(NAME)" --scale "$(SCALE)" --worker $(STUDY_OPTIONS)

SCALE ?= smoke
STUDY_OPTIONS = $(if $(STORAGE),--storage "$(STORAGE)") $(if $(FRESH),--fresh)

##@ Measuring

.PHONY: bench-accuracy bench-steps-to-58 bench-loop bench-data bench-predict bench-gpu
bench-accuracy: .venv/.core-stamp  ## Train the recipes and test them on all test images (hours; OPTIONS="--preset quick --seed 1")
	@python -m benchmarks.accuracy $(OPTIONS)

bench-steps-to-58: .venv/.core-stamp  ## Compare the arithmetic to 58% with that of the first system's recipe (an hour on 2 cores)
	@python -m benchmarks.steps_to_58 $(OPTIONS)

bench-loop: .venv/.core-stamp  ## Compare the speed of training with the network's own and with a plain loop (ten minutes on 2 cores)
	@python -m benchmarks.loop $(OPTIONS)

bench-data: .venv/.core-stamp  ## Measure reading images, an idle pipeline, and memory as the data grows (half an hour; OPTIONS="--part idle")
	@python -m benchmarks.data $(OPTIONS)

bench-predict: .venv/.core-stamp  ## Compare the speed of prediction with a plain loop's (some minutes)
	@python -m benchmarks.inference $(OPTIONS)

bench-gpu: .venv/.core-stamp  ## Measure the recipes on a CUDA GPU (half an hour on an H100; OPTIONS="--part shipped")
	@python -m benchmarks.gpu $(OPTIONS)

.PHONY: bench-heads
bench-heads: .venv/.dev-stamp  ## Measure heads on models/encoder: how fast they train, and how good they are (ten minutes)
	@cd "$(FOLDER)" && PYTHONPATH="$(CURDIR)" python -m benchmarks.heads

.PHONY: bench-transfer
bench-transfer: BODY ?= $(if $(PRESET),../../)models/resnet23_cifar.pth
bench-transfer: .venv/.dev-stamp  ## With PRESET=transfer-photos: measure what pretrained weights are worth (BODY=...: other ones)
	@$(IN_FOLDER) dvc repro features && PYTHONPATH="$(CURDIR)" python -m benchmarks.transfer --body "$(BODY)"

.PHONY: bench-novelty
bench-novelty: .venv/.dev-stamp  ## Measure how well the app's warning tells other images from the project's own (OPTIONS="--others DIR")
	@cd "$(FOLDER)" && PYTHONPATH="$(CURDIR)" python -m benchmarks.novelty $(OPTIONS)

.PHONY: bench-architectures
bench-architectures: .venv/.dev-stamp  ## Measure how long the presets of the published architectures take (some minutes)
	@python -m benchmarks.architectures

##@ Development

.PHONY: test
test: lint  ## Check style and format, run the tests
	@pytest -m "not slow and not soak" --numprocesses auto --dist loadfile

.PHONY: test-slow
test-slow: .venv/.dev-stamp  ## Run the tests that take longer
	@pytest -m "slow and not soak"

.PHONY: test-faults soak
test-faults: .venv/.dev-stamp  ## Cause every fault of docs/reliability.md, count, and write the counts there (half an hour on 2 busy cores)
	@pytest -m "fault and not soak" --record-faults --numprocesses auto --dist loadfile

soak: .venv/.dev-stamp  ## Run the demo pipeline 20 times in a row and look for what is lost, left behind or grows
	@pytest -m soak --record-faults

.PHONY: audit
audit: .venv/.dev-stamp  ## Look for known weaknesses of the pinned packages, and list their licences, in build/audit
	@rm -rf build/audit && mkdir -p build/audit
	@uv tool run --quiet --from pip-licenses==5.5.5 pip-licenses --python .venv/bin/python --from mixed --with-urls \
		--format markdown --output-file build/audit/licences.md
	@uv tool run --quiet --from pip-audit==2.10.1 pip-audit --strict --no-deps --disable-pip --progress-spinner off \
		--desc off -r requirements-tensorflow.txt --format markdown --output build/audit/weaknesses.md \
		2> build/audit/pip-audit.log && echo 'make audit: no known weakness' || { \
		test -s build/audit/weaknesses.md && cat build/audit/weaknesses.md || echo "make audit: nothing could be" \
		"looked up: $$(grep -m1 ERROR build/audit/pip-audit.log || tail -n1 build/audit/pip-audit.log)"; exit 1; }

.PHONY: lint
lint: .venv/.dev-stamp  ## Check style and format
	@ruff check . || { echo 'make lint: "make format" mends some of these'; exit 1; }
	@ruff format --check . || { echo 'make lint: "make format" mends this'; exit 1; }
	@flake8

.PHONY: format
format: .venv/.dev-stamp  ## Format the code and mend what can be mended automatically
	@ruff check --fix --quiet . || true
	@ruff format .

.PHONY: notebooks
notebooks: .venv/.dev-stamp  ## Run the notebooks and write what they show to docs/notebooks (five minutes)
	@rm -rf build/notebooks
	@PYTHONWARNINGS='ignore:IProgress not found' python -m nbconvert --execute --to markdown \
		--output-dir build/notebooks notebooks/*.ipynb
	@rm -rf docs/notebooks && mv build/notebooks docs/notebooks

.PHONY: docs
docs: .venv/.dev-stamp  ## Build the documentation in site/
	@NO_MKDOCS_2_WARNING=1 mkdocs build --strict
	@echo 'To read it: python -m http.server --bind 127.0.0.1 --directory site'

.PHONY: requirements
requirements: .venv/.dev-stamp  ## Resolve requirements.txt, -dev.txt, -tensorflow.txt and -tfjs.txt anew from pyproject.toml
	@$(RESOLVE) pyproject.toml --all-extras --output-file requirements-tensorflow.txt
	@$(RESOLVE) pyproject.toml $(DEV_EXTRAS:%=--extra %) --constraint requirements-tensorflow.txt \
		--output-file requirements-dev.txt
	@$(RESOLVE) pyproject.toml --constraint requirements-dev.txt --output-file requirements.txt
	@$(RESOLVE) --group tfjs --python-version 3.11 --output-file requirements-tfjs.txt

DEV_EXTRAS = export heads zoo explain serve docs studies tensorboard notebooks dev

# One resolution for all supported versions of Python and all platforms.
RESOLVE = uv pip compile --universal --fork-strategy fewest --upgrade --generate-hashes --quiet --no-annotate \
	--custom-compile-command "make requirements"

.PHONY: clean
clean:  ## Remove the demo, the built documents and the tools' caches (not .venv, data, models, reports or runs)
	@rm -rf demo build dist site *.egg-info .pytest_cache .ruff_cache .hypothesis
	@find Resnet23 $(wildcard tests) -name __pycache__ -type d -prune -exec rm -rf {} +

# ------------------------------------------------------------------------------------------------------------------
# The environment. A stamp stands for a finished installation and is older than what it was installed from when that
# has changed.

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || { \
		echo "make: Resnet23 needs Python 3.11 to 3.14, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1 | tail -n 1)." \
			"Name another one: make setup PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv --clear .venv

.venv/.core-stamp: requirements.txt pyproject.toml .venv/bin/python
	@test ! -L .venv || { echo 'make: .venv is a link to the environment of another project, which is older than' \
		'requirements.txt or pyproject.toml; for one of its own: rm .venv, then make setup'; exit 1; }
	@echo 'Installing the packages of requirements.txt into .venv (one to four minutes, 6 GB) ...'
	@$(PIP_INSTALL) -r requirements.txt || { $(INSTALL_FAILED); }
	@$(PIP_INSTALL) --quiet --no-build-isolation --editable . || { $(INSTALL_FAILED); }
	@touch $@

.venv/.dev-stamp: requirements-dev.txt .venv/.core-stamp
	@echo 'Installing the packages of requirements-dev.txt into .venv ...'
	@$(PIP_INSTALL) --quiet -r requirements-dev.txt || { $(INSTALL_FAILED); }
	@touch $@

.venv/.tensorflow-stamp: .venv/.tensorflow-python requirements-tensorflow.txt .venv/.dev-stamp
	@echo 'Installing the packages of requirements-tensorflow.txt into .venv ...'
	@$(PIP_INSTALL) --quiet -r requirements-tensorflow.txt || { $(INSTALL_FAILED); }
	@touch $@

# The converter wants an older TensorFlow, and says less than it needs of two other packages.
.venv/.tfjs-stamp: .venv/.tfjs-python requirements-tfjs.txt
	@echo 'Installing the converter of TensorFlow.js into .venv/tfjs (some minutes, 3 GB) ...'
	@python -m venv --clear .venv/tfjs
	@PATH="$(TFJS):$$PATH" $(PIP_INSTALL) --quiet -r requirements-tfjs.txt || { $(INSTALL_FAILED); }
	@touch $@

# Looked at before anything is installed in vain.
.venv/.tensorflow-python: .venv/bin/python
	@python -c 'import sys; sys.exit(sys.version_info >= (3, 14))' || { \
		echo "make: TensorFlow has no wheels for Python 3.14 yet; with another one: rm -r .venv, then" \
			"make setup-tensorflow PYTHON=python3.13"; exit 1; }
	@touch $@

.venv/.tfjs-python: .venv/bin/python
	@python -c 'import sys; sys.exit(sys.version_info >= (3, 13))' || { \
		echo "make: TensorFlow.js's converter needs Python 3.11 or 3.12; with it: rm -r .venv, then" \
			"make export-tfjs PYTHON=python3.12"; exit 1; }
	@touch $@

WEB := Resnet23/keras_variant/web
.venv/.web-stamp: $(WEB)/package-lock.json .venv/.core-stamp
	@command -v npm > /dev/null || { echo 'make: this needs npm, which comes with Node.js'; exit 1; }
	@echo 'Fetching the JavaScript libraries of package-lock.json from the npm registry into .venv/web (450 MB) ...'
	@mkdir -p .venv/web && cp $(WEB)/package.json $(WEB)/package-lock.json .venv/web
	@npm ci --prefix .venv/web --ignore-scripts --no-audit --no-fund --loglevel=error || { $(INSTALL_FAILED); }
	@touch $@

INSTALL_FAILED = echo 'make: the installation failed, see above; mend the network or the disk and run make again, or "rm -r .venv" first'; exit 1
