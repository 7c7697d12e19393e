// goPool, run() shape
module "example.com/fork/goPool"

go 1.24.0
