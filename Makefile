SITE ?= site

.PHONY: test faults lint stubs bench gpu docs

test:
	pytest -n 2

faults:
	python tests/support/interruptions.py
	python tests/support/file_kills.py
	python tests/support/kills.py 200

lint:
	ruff check . && ruff format --check . && mypy

stubs:
	python tests/support/stubs.py

bench:
	fastadam bench --csv bench/results/bench.csv
	fastadam bench --csv bench/results/optimizers.csv --sizes 1e7 \
		--optimizer all sgd:momentum=0.9 rmsprop:momentum=0.9 adam:amsgrad=True
	fastadam bench --csv bench/results/tail.csv --tail --seconds 60
	fastadam bench --csv bench/results/low-precision.csv --low-precision --seconds 60
	python bench/torch_adapter.py --csv bench/results/torch-adapter.csv
	python bench/charts.py
	python bench/convergence.py
	python bench/characters.py
	python bench/codes.py

gpu:
	bash bench/gpu.sh

docs:
	python docs/assets/optimizers.py && python docs/assets/step.py
	python docs/assets/schedules.py && python docs/assets/offload.py
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet --site-dir $(SITE)
