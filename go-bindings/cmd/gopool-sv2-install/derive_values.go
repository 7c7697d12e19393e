package main

import (
	"fmt"
	"go/ast"
	"go/types"
	"strings"
)

// configOf is an expression for the configuration that the accept loop gives a connection: the name
// it passes, or the call that it got it from.
func (d *deriver) configOf(arg ast.Expr) string {
	name, ok := arg.(*ast.Ident)
	if !ok {
		return d.kept("NewMinerConn", arg)
	}
	value, inside := d.declarationIn(name.Name)
	if !inside {
		return d.kept("NewMinerConn", arg)
	}
	call, ok := value.(*ast.CallExpr)
	if ok && len(call.Args) == 0 {
		root := call.Fun
		if selector, isSelector := root.(*ast.SelectorExpr); isSelector {
			root = selector.X
		}
		ident, isName := root.(*ast.Ident)
		if isName && !d.hidden(ident.Name) && (d.visible(ident.Name) || d.symbols["func "+ident.Name]) {
			return d.text(call)
		}
	}
	d.refuse(fmt.Sprintf("%s: where the accept loop's `%s` comes from is not clear",
		d.position(arg), name.Name), "looked for `"+name.Name+" := x.Config()`, x declared before it")
	return ""
}

// madeBy is the variable that a function made, at the top level.
func (d *deriver) madeBy(function string) string {
	var names []string
	for _, name := range sortedNames(d.scope) {
		if call, ok := d.scope[name].(*ast.CallExpr); ok && isCallOf(call, function) {
			names = append(names, name)
		}
	}
	return d.only(names, "made by "+function+"(…)")
}

// mux is the variable with what goPool serves over HTTP, if there is just one.
func (d *deriver) mux() string {
	found := ""
	for _, name := range sortedNames(d.scope) {
		call, ok := d.scope[name].(*ast.CallExpr)
		if !ok || types.ExprString(call.Fun) != "http.NewServeMux" {
			continue
		}
		if found != "" {
			return ""
		}
		found = name
	}
	return found
}

// ofType is the variable declared with a type, at the top level.
func (d *deriver) ofType(typ string) string {
	var names []string
	for _, name := range sortedNames(d.typed) {
		if d.typed[name] == typ {
			names = append(names, name)
		}
	}
	return d.only(names, "declared as `var x "+typ+"`")
}

// waitGroup is what the accept loop adds its connections to.
func (d *deriver) waitGroup() string {
	names := map[string]bool{}
	ast.Inspect(d.at.loop, func(node ast.Node) bool {
		call, ok := node.(*ast.CallExpr)
		if !ok {
			return true
		}
		method, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || method.Sel.Name != "Add" && method.Sel.Name != "Go" {
			return true
		}
		group, ok := method.X.(*ast.Ident)
		if ok && d.typed[group.Name] == "sync.WaitGroup" && !d.hidden(group.Name) {
			names[group.Name] = true
		}
		return true
	})
	name := d.only(sortedNames(names),
		"declared as `var x sync.WaitGroup` that the accept loop adds connections to")
	if name == "" {
		return ""
	}
	return "&" + name
}

func (d *deriver) only(names []string, how string) string {
	if len(names) == 1 {
		return names[0]
	}
	found := "none"
	if len(names) > 1 {
		found = strings.Join(names, ", ")
	}
	d.refuse(fmt.Sprintf("%s: `%s` has to have one variable %s before the accept loop; found: %s",
		d.position(d.at.start), d.at.start.Name.Name, how, found), "")
	return ""
}
