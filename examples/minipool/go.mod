module github.com/gopool-sv2/gopool-sv2/examples/minipool

go 1.26.0
