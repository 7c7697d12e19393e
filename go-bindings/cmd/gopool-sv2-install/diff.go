package main

import (
	"fmt"
	"strings"
)

// diffContext is how many unchanged lines are shown around a change.
const diffContext = 3

// diff shows what changes from one text to another, in the unified form. Empty when nothing does.
func diff(name string, before, after []byte) string {
	from, to := lines(before), lines(after)
	head := 0
	for head < len(from) && head < len(to) && from[head] == to[head] {
		head++
	}
	tail := 0
	for tail < len(from)-head && tail < len(to)-head &&
		from[len(from)-1-tail] == to[len(to)-1-tail] {
		tail++
	}
	if head == len(from) && head == len(to) {
		return ""
	}
	edits := script(from[head:len(from)-tail], to[head:len(to)-tail])
	var marked []string
	for _, line := range from[:head] {
		marked = append(marked, " "+line)
	}
	marked = append(marked, edits...)
	for _, line := range from[len(from)-tail:] {
		marked = append(marked, " "+line)
	}
	return fmt.Sprintf("--- a/%s\n+++ b/%s\n%s", name, name, hunks(marked))
}

func lines(text []byte) []string {
	if len(text) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n"), "\n")
}

// script is the shortest list of lines kept (" "), taken ("-") and added ("+").
func script(from, to []string) []string {
	common := make([][]int, len(from)+1) // length of the longest common subsequence of the rests
	for i := range common {
		common[i] = make([]int, len(to)+1)
	}
	for i := len(from) - 1; i >= 0; i-- {
		for j := len(to) - 1; j >= 0; j-- {
			if from[i] == to[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var marked []string
	i, j := 0, 0
	for i < len(from) || j < len(to) {
		switch {
		case i < len(from) && j < len(to) && from[i] == to[j]:
			marked = append(marked, " "+from[i])
			i, j = i+1, j+1
		case j == len(to) || i < len(from) && common[i+1][j] >= common[i][j+1]:
			marked = append(marked, "-"+from[i])
			i++
		default:
			marked = append(marked, "+"+to[j])
			j++
		}
	}
	return marked
}

// hunks keeps the changes and a few lines around them.
func hunks(marked []string) string {
	show := make([]bool, len(marked))
	for index, line := range marked {
		if line[0] == ' ' {
			continue
		}
		for near := max(0, index-diffContext); near <= min(len(marked)-1, index+diffContext); near++ {
			show[near] = true
		}
	}
	var text strings.Builder
	oldLine, newLine := 1, 1
	for index := 0; index < len(marked); index++ {
		if show[index] && (index == 0 || !show[index-1]) {
			oldCount, newCount := 0, 0
			for end := index; end < len(marked) && show[end]; end++ {
				oldCount += count(marked[end], "-")
				newCount += count(marked[end], "+")
			}
			fmt.Fprintf(&text, "@@ -%d,%d +%d,%d @@\n", oldLine, oldCount, newLine, newCount)
		}
		if show[index] {
			text.WriteString(marked[index] + "\n")
		}
		oldLine += count(marked[index], "-")
		newLine += count(marked[index], "+")
	}
	return text.String()
}

// count is 1 for a line that the side has: unchanged ones, and those with its sign.
func count(line, sign string) int {
	if line[0] == ' ' || line[:1] == sign {
		return 1
	}
	return 0
}
