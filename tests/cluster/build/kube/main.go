// Command kube is a whole Kubernetes in one program: the name it is called by, or its first
// argument, says which component it is. One program instead of seven links their common code
// once, which is most of it.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"
	etcd "go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/restclient"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// ownerVariable holds the process id of the test run that starts a component.
const ownerVariable = "PLUMBLINE_KUBE_OWNER"

var components = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllers.NewControllerManagerCommand,
	"kube-proxy":              proxy.NewProxyCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
}

func main() {
	if filepath.Base(os.Args[0]) == "kube" && len(os.Args) > 1 {
		os.Args = os.Args[1:]
	}
	name := filepath.Base(os.Args[0])
	switch command, known := components[name]; {
	case known:
		os.Exit(cli.Run(command()))
	case name == "etcd":
		etcd.Main(slices.Concat([]string{"etcd"}, os.Args[1:]))
	case name == "kubectl":
		// kubectl words its errors itself; cli.Run would print them a second time.
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			util.CheckErr(err)
		}
	default:
		fmt.Fprintf(os.Stderr, "kube: no component is called %q\n", name)
		os.Exit(64)
	}
}

// The kernel kills a component whose owner ends in any way, paused components too. Set here and
// not by the owner between fork and exec, where a program with threads must not run code.
func init() {
	owner, err := strconv.Atoi(os.Getenv(ownerVariable))
	if err != nil {
		return
	}
	os.Unsetenv(ownerVariable)
	_, _, failed := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0)
	if failed != 0 || os.Getppid() != owner {
		fmt.Fprintf(os.Stderr, "kube: cannot be tied to process %d (%v)\n", owner, failed)
		os.Exit(70)
	}
}
