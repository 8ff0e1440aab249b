//go:build tools

// Package tools pins the command that scripts/e2e cluster builds.
package tools

import _ "gopkg.in/k8snetworkplumbingwg/multus-cni.v4/cmd/multus"
