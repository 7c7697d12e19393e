package main

import (
	"fmt"
	"strings"
)

// problem is one reason to refuse. Problems are collected, so that an operator sees all at once.
type problem struct {
	what   string // what is wrong, with file:line where there is one
	why    string // why that matters, or what was looked for; may be empty
	remedy string // what to do
}

// problems are the reasons to refuse, in the order found. As an error it prints all of them.
type problems []problem

func (list *problems) add(what, why, remedy string) {
	*list = append(*list, problem{what, why, remedy})
}

// Error has a numbered paragraph for each problem.
func (list problems) Error() string {
	var text strings.Builder
	for index, found := range list {
		fmt.Fprintf(&text, "%d. %s\n", index+1, found.what)
		if found.why != "" {
			fmt.Fprintf(&text, "   Why: %s\n", found.why)
		}
		fmt.Fprintf(&text, "   What to do: %s\n", found.remedy)
	}
	return text.String()
}

// What to tell an operator when goPool's code is not as this installer knows it.
const newerInstaller = "goPool's code has another shape here. Look for a newer gopool-sv2-install; " +
	"if there is none, report this text with goPool's commit."
