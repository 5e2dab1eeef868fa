"""From a CSV file to a forecast with intervals.

    python examples/forecast_table.py my_table.csv

The table has a column of times and one column for each series, or the columns unique_id, ds and y.
Without a file, a small series that ships with gatewise is used.
"""

import sys

from gatewise.tasks import Forecaster, load_example

table = sys.argv[1] if len(sys.argv) > 1 else load_example()

model = Forecaster(horizon=52, max_epochs=10).fit(table)
for name, scores in model.scores_.items():
    print(f"{name:15} MAE {scores['mae']:.3f}  MASE {scores['mase']:.3f}")

print(model.predict(table).head())
model.save("runs/example")
print("Pictures: runs/example/report.html")
