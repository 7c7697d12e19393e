package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"strings"
)

// values are the Go expressions for what the hook passes on, in the words of goPool's own code.
type values struct {
	ctx, jobMgr, registry, reconnectLimiter, connWg, config string

	mux string // empty: not clear which, and then our pages aren't served

	newJobManager string // arguments, with our parameter in its place
	newMinerConn  string
}

// Our parameters in the functions that the hook makes. Prefixed, so that they hide nothing of
// goPool's that is used beside them.
const (
	connParam = "sv2bridgeConn"
	jobsParam = "sv2bridgeJobs"
	cfgParam  = "sv2bridgeCfg"
)

// deriver collects values and problems.
type deriver struct {
	*pool
	at    *anchor
	scope map[string]ast.Expr // names declared at the top level before the hook, with what they are
	typed map[string]string   // those declared with a type
	wrong problems
}

// derive gets the values from the accept loop's own NewMinerConn(…) and what surrounds it.
func (p *pool) derive(at *anchor) (values, problems) {
	d := &deriver{pool: p, at: at, scope: map[string]ast.Expr{}, typed: map[string]string{}}
	d.collectScope()
	if !imports(p.built[at.file], "net") {
		d.refuse(at.file+" does not import net", "our factory takes a net.Conn there")
	}
	var v values
	args := d.argumentsOf("NewMinerConn", "*MinerConn", at.call, map[string]string{
		"net.Conn": connParam, "*JobManager": jobsParam, "Config": cfgParam,
	}, &v)
	v.newMinerConn = strings.Join(args, ", ")
	v.registry = d.madeBy("NewMinerRegistry")
	v.reconnectLimiter = d.ofType("*reconnectTracker")
	v.connWg = d.waitGroup()
	v.mux = d.mux()
	if call, ok := d.scope[v.jobMgr].(*ast.CallExpr); ok && isCallOf(call, "NewJobManager") {
		args := d.argumentsOf("NewJobManager", "*JobManager", call,
			map[string]string{"Config": cfgParam}, nil)
		v.newJobManager = strings.Join(args, ", ")
	} else if v.jobMgr != "" {
		d.refuse(fmt.Sprintf("%s: `%s` is not made by NewJobManager(…) at the top level of `%s`",
			p.position(at.call), v.jobMgr, at.start.Name.Name),
			"a second JobManager for Stratum V2 is made by the same call")
	}
	return v, d.wrong
}

func (d *deriver) refuse(what, why string) { d.wrong.add(what, why, newerInstaller) }

func imports(file *ast.File, path string) bool {
	for _, spec := range file.Imports {
		if spec.Path.Value == `"`+path+`"` && spec.Name == nil {
			return true
		}
	}
	return false
}

// collectScope notes what can be used where the hook goes.
func (d *deriver) collectScope() {
	for _, field := range append(parametersOf(d.at.start.Type.Params),
		parametersOf(d.at.start.Type.Results)...) {
		if field.name != "" {
			d.scope[field.name] = nil
		}
	}
	for _, stmt := range d.at.start.Body.List {
		if stmt.Pos() >= d.at.stmt.Pos() {
			return
		}
		switch stmt := stmt.(type) {
		case *ast.AssignStmt:
			for index, left := range stmt.Lhs {
				name, ok := left.(*ast.Ident)
				if !ok || name.Name == "_" || stmt.Tok != token.DEFINE {
					continue
				}
				d.scope[name.Name] = stmt.Rhs[min(index, len(stmt.Rhs)-1)]
			}
		case *ast.DeclStmt:
			general, ok := stmt.Decl.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range general.Specs {
				if spec, ok := spec.(*ast.ValueSpec); ok {
					d.declare(spec)
				}
			}
		}
	}
}

func (d *deriver) declare(spec *ast.ValueSpec) {
	for index, name := range spec.Names {
		d.scope[name.Name] = nil
		if index < len(spec.Values) {
			d.scope[name.Name] = spec.Values[index]
		}
		if spec.Type != nil {
			d.typed[name.Name] = types.ExprString(spec.Type)
		}
	}
}

// argumentsOf repeats a call's arguments. Each parameter whose type is in ours gets our parameter
// instead, and must be there once. v, if given, receives the values that the replaced ones had.
func (d *deriver) argumentsOf(
	name, result string, call *ast.CallExpr, ours map[string]string, v *values,
) []string {
	function := d.functionOf(name)
	if function == nil {
		d.refuse("goPool declares no func "+name, "our factory calls it as goPool's accept loop does")
		return nil
	}
	parameters := parametersOf(function.Params)
	if results := typesOf(function.Results); len(results) != 1 || results[0] != result {
		d.refuse(fmt.Sprintf("func %s%s does not return just a %s", name, signature(function), result), "")
	}
	if len(parameters) != len(call.Args) || call.Ellipsis.IsValid() {
		d.refuse(fmt.Sprintf("%s: %s has %d parameters and is called with %d arguments",
			d.position(call), name, len(parameters), len(call.Args)), "")
		return nil
	}
	var args []string
	count := map[string]int{}
	for index, param := range parameters {
		arg := call.Args[index]
		count[param.typ]++
		text, replaced := ours[param.typ]
		switch {
		case v != nil && param.typ == "Config":
			v.config = d.configOf(arg)
		case v != nil && param.typ == "*JobManager":
			v.jobMgr = d.kept(name, arg)
		case v != nil && param.typ == "context.Context":
			v.ctx = d.kept(name, arg)
			text, replaced = v.ctx, true
		case v != nil && param.typ == "bool" && strings.Contains(strings.ToLower(param.name), "tls"):
			text, replaced = "false", true // Noise protects that link, TLS does not.
		}
		if !replaced {
			text = d.kept(name, arg)
		}
		args = append(args, text)
	}
	once := sortedNames(ours)
	if v != nil {
		once = append(once, "context.Context")
	}
	for _, typ := range once {
		if count[typ] != 1 {
			d.refuse(fmt.Sprintf("func %s has %d parameters of type %s", name, count[typ], typ),
				"exactly one is expected: it is the one we fill in")
		}
	}
	return args
}

func (d *deriver) functionOf(name string) *ast.FuncType {
	for _, file := range sortedNames(d.built) {
		for _, decl := range d.built[file].Decls {
			function, ok := decl.(*ast.FuncDecl)
			if ok && function.Recv == nil && function.Name.Name == name {
				return function.Type
			}
		}
	}
	return nil
}

// kept is an argument that means the same at the hook: a name that is in scope there and that nothing
// nearer to the call hides.
func (d *deriver) kept(function string, arg ast.Expr) string {
	name, ok := arg.(*ast.Ident)
	why := "an argument is repeated only if it is a name that means the same before the accept loop"
	switch {
	case !ok:
		d.refuse(fmt.Sprintf("%s: the argument `%s` of %s is not a plain name",
			d.position(arg), d.text(arg), function), why)
	case d.hidden(name.Name) && within(d.at.loop, arg):
		d.refuse(fmt.Sprintf("%s: the argument `%s` of %s is declared inside of the accept loop",
			d.position(arg), name.Name, function), why)
	case !d.visible(name.Name):
		d.refuse(fmt.Sprintf("%s: the argument `%s` of %s is not declared at the top level of `%s`",
			d.position(arg), name.Name, function, d.at.start.Name.Name), why)
	default:
		return name.Name
	}
	return ""
}

func within(outer, inner ast.Node) bool {
	return outer.Pos() <= inner.Pos() && inner.End() <= outer.End()
}

func (d *deriver) visible(name string) bool {
	_, local := d.scope[name]
	return local || d.symbols["var "+name] || d.symbols["const "+name] ||
		name == "nil" || name == "true" || name == "false"
}

// hidden says whether the accept loop declares a name itself.
func (d *deriver) hidden(name string) bool {
	_, found := d.declarationIn(name)
	return found
}

// declarationIn gives what the accept loop declares a name as; nil where that is no expression.
func (d *deriver) declarationIn(name string) (value ast.Expr, found bool) {
	ast.Inspect(d.at.loop, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.AssignStmt:
			for index, left := range node.Lhs {
				if ident, ok := left.(*ast.Ident); ok && node.Tok == token.DEFINE && ident.Name == name {
					found, value = true, node.Rhs[min(index, len(node.Rhs)-1)]
				}
			}
		case *ast.Field:
			for _, ident := range node.Names {
				found = found || ident.Name == name
			}
		case *ast.ValueSpec:
			for _, ident := range node.Names {
				found = found || ident.Name == name
			}
		case *ast.RangeStmt:
			for _, expr := range []ast.Expr{node.Key, node.Value} {
				ident, ok := expr.(*ast.Ident)
				found = found || ok && ident.Name == name
			}
		}
		return true
	})
	return value, found
}
