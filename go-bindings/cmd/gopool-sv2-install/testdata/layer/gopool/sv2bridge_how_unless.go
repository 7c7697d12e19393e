//go:build sv2bridge

package main

//sv2bridge:unless func stratumHealthStatus

const sv2bridgeHow = "unless"
