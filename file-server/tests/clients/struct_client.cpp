// A client of the struct upload protocol as they have long been in use: blocking sockets, a packed struct for the header,
// pieces of 4 KiB, no options set.
//
//     struct_client PORT NAME FILE

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

struct Header {
    char name[256];
    int32_t size;
};

static void fail(const char *what) {
    std::perror(what);
    std::exit(1);
}

static void send_all(int fd, const char *bytes, size_t count) {
    while (count > 0) {
        ssize_t sent = send(fd, bytes, count, 0);
        if (sent <= 0) fail("send");
        bytes += sent;
        count -= static_cast<size_t>(sent);
    }
}

static void expect_ok(int fd) {
    char answer[2];
    for (size_t count = 0; count < sizeof answer;) {
        ssize_t received = recv(fd, answer + count, sizeof answer - count, 0);
        if (received == 0) {
            std::fprintf(stderr, "closed without ok\n");
            std::exit(2);
        }
        if (received < 0) fail("recv");
        count += static_cast<size_t>(received);
    }
    if (std::memcmp(answer, "ok", 2) != 0) fail("no ok");
}

int main(int argc, char **argv) {
    if (argc != 4) return 3;
    std::FILE *file = std::fopen(argv[3], "rb");
    if (!file) fail("open");
    std::fseek(file, 0, SEEK_END);
    Header header{};
    std::strncpy(header.name, argv[2], sizeof header.name - 1);
    header.size = static_cast<int32_t>(std::ftell(file));
    std::rewind(file);

    int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(std::atoi(argv[1])));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, reinterpret_cast<sockaddr *>(&address), sizeof address) != 0) fail("connect");

    send_all(fd, reinterpret_cast<const char *>(&header), sizeof header);
    expect_ok(fd);
    char piece[4096];
    for (size_t count; (count = std::fread(piece, 1, sizeof piece, file)) > 0;) send_all(fd, piece, count);
    expect_ok(fd);
    close(fd);
    return 0;
}
