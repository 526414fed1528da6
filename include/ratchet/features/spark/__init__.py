"""Features on Spark: the same definition and the same search through time, over tables of any size.

What the tables say (filters, computed columns, keys, the features' own expressions) runs as Spark SQL, compiled by
Ibis; what was known when is found in Python workers by the code that finds it on one machine, a share of the keys at a
time. pyspark is an optional dependency: nothing outside this package imports it.
"""
