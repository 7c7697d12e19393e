package main

import (
	"strconv"
	"strings"
)

// newer says whether one module version comes after another, as semantic versions are ordered. Both
// are canonical, as in go.mod: v1.2.3, v1.2.3-pre, v0.0.0-20260102030405-abcdef012345, +incompatible.
func newer(version, than string) bool {
	left, leftPre := splitVersion(version)
	right, rightPre := splitVersion(than)
	for index := range 3 {
		if order := compareNumbers(left[index], right[index]); order != 0 {
			return order > 0
		}
	}
	if leftPre == "" || rightPre == "" {
		return leftPre == "" && rightPre != ""
	}
	return newerPrerelease(leftPre, rightPre)
}

func splitVersion(version string) (numbers [3]string, pre string) {
	version, _, _ = strings.Cut(strings.TrimPrefix(version, "v"), "+")
	version, pre, _ = strings.Cut(version, "-")
	copy(numbers[:], strings.SplitN(version, ".", 3))
	return numbers, pre
}

// compareNumbers compares decimal numbers of any length without leading zeros.
func compareNumbers(left, right string) int {
	if len(left) != len(right) {
		return len(left) - len(right)
	}
	return strings.Compare(left, right)
}

func newerPrerelease(left, right string) bool {
	leftParts, rightParts := strings.Split(left, "."), strings.Split(right, ".")
	for index := range min(len(leftParts), len(rightParts)) {
		a, b := leftParts[index], rightParts[index]
		if a == b {
			continue
		}
		aNumber, bNumber := isNumber(a), isNumber(b)
		switch {
		case aNumber && bNumber:
			return compareNumbers(a, b) > 0
		case aNumber != bNumber:
			return bNumber // numbers come first
		}
		return a > b
	}
	return len(leftParts) > len(rightParts)
}

func isNumber(text string) bool {
	_, err := strconv.ParseUint(text, 10, 64)
	return err == nil
}
