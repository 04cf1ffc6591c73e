package kube

import (
	"context"
	"errors"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	utilexec "k8s.io/client-go/util/exec"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/session"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

var _ session.Process = (*podProcess)(nil)

// podProcess is the first process of a rotation's pod.
type podProcess struct {
	client kubernetes.Interface
	config *rest.Config // may be nil
	run    podRunner
	pod    *corev1.Pod
}

// Run runs the node program in the pod.
func (p *podProcess) Run(ctx context.Context, c session.Command) error {
	c.Args = slices.Concat([]string{nodeProgram}, c.Args[:1], []string{"--root=" + hostRoot}, c.Args[1:])
	err := p.run(ctx, p.pod.Namespace, p.pod.Name, c)
	var exit utilexec.CodeExitError
	if errors.As(err, &exit) {
		return &session.ExitError{Code: exit.Code}
	}
	return err
}

// Ended reads the pod, and its log where it has ended.
func (p *podProcess) Ended(ctx context.Context) *session.Ended {
	ctx, cancel := context.WithTimeout(ctx, wait.RequestTimeout)
	defer cancel()
	pod, err := p.client.CoreV1().Pods(p.pod.Namespace).Get(ctx, p.pod.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), err == nil && pod.UID != p.pod.UID:
		return &session.Ended{Err: p.endedError(nil)}
	case err == nil && hasEnded(pod):
		// No command can run in it any more, but its log has its records, too.
		return &session.Ended{Err: p.endedError(pod), Replay: p.replayLog}
	}
	return nil
}

// replayLog reads the records of an ended pod from its log.
func (p *podProcess) replayLog(ctx context.Context, deliver func(line []byte) error) error {
	log, err := viaNewConnection(p.client, p.config).CoreV1().Pods(p.pod.Namespace).GetLogs(p.pod.Name, &corev1.PodLogOptions{Container: containerName}).Stream(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	return session.CopyLines(&session.LineWriter{Line: func(line []byte) error {
		if line[0] != '{' {
			return nil // standard error is in the same log
		}
		return deliver(line)
	}}, log)
}

// endedError is the error of a request to a pod that has ended or, without a pod, is deleted.
func (p *podProcess) endedError(pod *corev1.Pod) error {
	e := &PodError{Node: p.pod.Spec.NodeName, Pod: p.pod.Namespace + "/" + p.pod.Name, Reason: "Deleted", Message: "it was deleted",
		Next: "the same command continues this rotation"}
	if pod != nil {
		e.Reason = "Ended"
		e.Err = failureOf(pod, nil)
		e.Message = e.Err.Error()
	}
	return e
}
