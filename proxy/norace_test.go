//go:build !race

package proxy

// earlyAnswers is how often TestEarlyAnswer asks in each way, without TORTURE.
const earlyAnswers = 200
