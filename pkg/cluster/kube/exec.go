package kube

import (
	"context"
	"fmt"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/klog/v2"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/session"
)

// podRunner runs a command, with its program, in a pod's container; see [session.Runner].
type podRunner func(ctx context.Context, namespace, pod string, c session.Command) error

// execRunner runs commands as kubectl exec does: through WebSockets, or SPDY where a server or
// a proxy does not support them. Every command has a connection of its own, so that a retry
// may reach another API server.
func execRunner(client kubernetes.Interface, config *rest.Config) podRunner {
	return func(ctx context.Context, namespace, pod string, c session.Command) error {
		url := client.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).
			SubResource("exec").VersionedParams(&corev1.PodExecOptions{
			Container: containerName, Command: c.Args,
			Stdin: c.Stdin != nil, Stdout: true, Stderr: true,
		}, scheme.ParameterCodec).URL()
		spdy, err := remotecommand.NewSPDYExecutor(config, "POST", url)
		if err != nil {
			return fmt.Errorf("prepare exec: %w", err)
		}
		websocket, err := remotecommand.NewWebSocketExecutor(config, "GET", url.String())
		if err != nil {
			return fmt.Errorf("prepare exec: %w", err)
		}
		executor, err := remotecommand.NewFallbackExecutor(websocket, spdy, func(err error) bool {
			return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
		})
		if err != nil {
			return fmt.Errorf("prepare exec: %w", err)
		}
		// Not logged: a broken connection is retried, and its log would be printed amid the progress.
		ctx = klog.NewContext(ctx, logr.Discard())
		return executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr})
	}
}
