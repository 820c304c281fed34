// SPDX-License-Identifier: MIT
// Reads numbers, prints their count, sum, median and a histogram.
#include <stdio.h>
#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
	long x = *(const long *)a, y = *(const long *)b;

	return (x > y) - (x < y);
}

int main(void)
{
	static long values[100000];
	long buckets[10] = { 0 };
	long long sum = 0;
	size_t n = 0;

	while (n < sizeof(values) / sizeof(values[0]) && scanf("%ld", &values[n]) == 1) {
		sum += values[n];
		buckets[values[n] / 100000 % 10]++;
		n++;
	}
	qsort(values, n, sizeof(values[0]), by_value);
	printf("count %zu\nsum %lld\nmedian %ld\n", n, sum, n ? values[n / 2] : 0);
	for (int i = 0; i < 10; i++)
		printf("%d00000: %ld\n", i, buckets[i]);
	return 0;
}
