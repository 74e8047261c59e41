// The practical limit: answers whatever comes with one file and does nothing else. What it sends is a copy of the file in memory by
// send(2), the file by sendfile(2), or references to the copy, in huge pages, by vmsplice(2).
//
//     bare send|sendfile|vmsplice PORT FILE
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS = 1024 };

enum { CONTENT = 1 << 21, PIPE = 1 << 20 }; // content begins with a huge page; a pipe of its 256 pages

static ssize_t (*send_content)(int socket, size_t done);
static int file, pipe_ends[2];
static char *content, *answer; // the answer is the head, and the content behind it
static size_t head, size;
static size_t sent[CONNECTIONS]; // of head and content; all of it where nothing is being sent

static void load(const char *path) {
    char text[256];
    if ((file = open(path, O_RDONLY)) < 0) err(1, "%s", path);
    size = lseek(file, 0, SEEK_END);
    head = sprintf(text,
                   "HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 20:00:00 GMT\r\nETag: \"0123456789abcdef\"\r\n"
                   "Content-Type: application/octet-stream\r\nContent-Length: %zu\r\n\r\n",
                   size);
    if ((content = aligned_alloc(CONTENT, CONTENT + (size / CONTENT + 1) * CONTENT)) == NULL) err(1, "memory");
    content += CONTENT;
    madvise(content, (size / CONTENT + 1) * CONTENT, MADV_HUGEPAGE);
    answer = memcpy(content - head, text, head);
    if (pread(file, content, size, 0) != (ssize_t)size) err(1, "%s", path);
}

static int listen_on(uint16_t port) {
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&address, sizeof address) != 0 || listen(listener, 1024) != 0) err(1, "port %u", port);
    return listener;
}

static void watch(int epoll, int socket, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = socket};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event) != 0) err(1, "epoll_ctl");
}

static void accept_all(int epoll, int listener) {
    int one = 1, socket;
    while ((socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (socket >= CONNECTIONS) errx(1, "too many connections");
        setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        watch(epoll, socket, EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP);
        sent[socket] = head + size;
    }
}

static void make_pipe(void) {
    if (pipe2(pipe_ends, O_NONBLOCK) != 0 || fcntl(pipe_ends[0], F_SETPIPE_SZ, PIPE) < PIPE) err(1, "pipe");
}

static ssize_t by_sendfile(int socket, size_t done) {
    off_t offset = done;
    return sendfile(socket, file, &offset, size - done);
}

static ssize_t by_vmsplice(int socket, size_t done) {
    struct iovec rest = {content + done, size - done};
    ssize_t referred = vmsplice(pipe_ends[1], &rest, 1, SPLICE_F_NONBLOCK);
    if (referred <= 0) err(1, "vmsplice");
    ssize_t sent = splice(pipe_ends[0], NULL, socket, NULL, referred, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (sent == referred) return sent;
    close(pipe_ends[0]); // with what the socket did not take
    close(pipe_ends[1]);
    make_pipe();
    return sent;
}

static ssize_t send_some(int socket) {
    size_t done = sent[socket];
    if (send_content == NULL) return send(socket, answer + done, head + size - done, MSG_NOSIGNAL);
    if (done < head) return send(socket, answer + done, head - done, MSG_NOSIGNAL | MSG_MORE);
    return send_content(socket, done - head);
}

static void serve(int socket, uint32_t events) {
    static char request[1 << 16];
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        close(socket);
        return;
    }
    bool idle = sent[socket] == head + size;
    if (idle && (events & EPOLLIN) && recv(socket, request, sizeof request, 0) > 0) sent[socket] = 0;
    while (sent[socket] < head + size) {
        ssize_t count = send_some(socket);
        if (count < 0) return;
        sent[socket] += count;
    }
}

int main(int argc, char **argv) {
    if (argc != 4) errx(2, "bare send|sendfile|vmsplice PORT FILE");
    if (strcmp(argv[1], "sendfile") == 0) send_content = by_sendfile;
    if (strcmp(argv[1], "vmsplice") == 0) send_content = by_vmsplice;
    make_pipe();
    load(argv[3]);
    int listener = listen_on(atoi(argv[2])), epoll = epoll_create1(0);
    watch(epoll, listener, EPOLLIN);
    for (;;) {
        struct epoll_event events[256];
        int count = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener) accept_all(epoll, listener);
            else serve(events[i].data.fd, events[i].events);
        }
    }
}
